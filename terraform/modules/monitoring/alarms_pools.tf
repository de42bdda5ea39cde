locals {
  queued_pools = { for service, pool in var.pools : service => pool if pool.queue != null }
}

resource "aws_cloudwatch_metric_alarm" "queue_age" {
  for_each = local.queued_pools

  alarm_name        = "${var.name}-${each.key}-queue-age"
  alarm_description = "The oldest message of ${each.value.queue} waits for more than ${var.queue_age_seconds} s. Look at setpoint get wp ${each.value.pool}: no worker runs, or maxTasks is too low."

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.queue_age_seconds
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  tags = var.tags
}

# The dispatcher empties the dead-letter queue within seconds, so what lies there for ten minutes says that it does not.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = local.queued_pools

  alarm_name        = "${var.name}-${each.key}-dead-letters"
  alarm_description = "A message lies in ${each.value.dlq} for more than 10 minutes. The dispatcher should have taken it out: look at its log for errors of that queue."

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.value.dlq }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 600
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "undeliverable" {
  for_each = var.pools

  alarm_name        = "${var.name}-${each.key}-undeliverable"
  alarm_description = "An attempt of pool ${each.value.pool} was given up as undeliverable: three deliveries reached no worker. Look at setpoint events for the run, and whether workers start."

  namespace           = "Setpoint"
  metric_name         = "setpoint_attempts_undeliverable"
  dimensions          = { env = var.environment, pool = each.value.pool }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  tags = var.tags
}

# Not the utilization alone: above 1 it only says that the autoscaling has something to do.
resource "aws_cloudwatch_metric_alarm" "at_max" {
  for_each = local.queued_pools

  alarm_name        = "${var.name}-${each.key}-at-max"
  alarm_description = "Pool ${each.value.pool} runs its max tasks and wants more for ${var.pool_at_max_minutes} minutes. Raise maxTasks in its WorkerPool, or live with the wait."

  evaluation_periods  = var.pool_at_max_minutes
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "wanting"
    label       = "wants more than its max tasks"
    expression  = "IF(desired >= ceiling AND utilization > 1, 1, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      desired     = "setpoint_pool_desired_tasks"
      ceiling     = "setpoint_pool_max_tasks"
      utilization = "setpoint_pool_utilization"
    }

    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = "Setpoint"
        metric_name = metric_query.value
        dimensions  = { env = var.environment, pool = each.value.pool }
        period      = 60
        stat        = "Average"
      }
    }
  }

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  tags = var.tags
}
