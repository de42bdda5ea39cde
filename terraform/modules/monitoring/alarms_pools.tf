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

  alarm_name        = "${var.name}-${each.key}-dlq-age"
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
