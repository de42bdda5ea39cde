# From minTasks to maxTasks by demand. Target tracking cannot leave zero (a quotient of zero tasks says nothing), so a step does.

locals {
  scaling_dimensions = { for key in keys(var.pools) : key => { env = var.environment, pool = key } }
}

resource "aws_appautoscaling_target" "pool" {
  for_each = var.pools

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.pool[each.key].name}"
  min_capacity       = each.value.min_tasks
  max_capacity       = each.value.max_tasks
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "utilization" {
  for_each = var.pools

  name               = "${var.name}-${each.key}-utilization"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.pool[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.pool[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.pool[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 1
    scale_out_cooldown = 30
    scale_in_cooldown  = 300

    customized_metric_specification {
      namespace   = "Setpoint"
      metric_name = "setpoint_pool_utilization"
      statistic   = "Average"

      dynamic "dimensions" {
        for_each = local.scaling_dimensions[each.key]

        content {
          name  = dimensions.key
          value = dimensions.value
        }
      }
    }
  }
}

resource "aws_appautoscaling_policy" "from_zero" {
  for_each = var.pools

  name               = "${var.name}-${each.key}-from-zero"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.pool[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.pool[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.pool[each.key].resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Maximum"
    # Longer than the alarms remember, and than a task takes to start: one step is enough.
    cooldown = 300

    step_adjustment {
      metric_interval_lower_bound = 0
      scaling_adjustment          = 1
    }
  }
}

# Work without a task, as the dispatcher knows it. Its two numbers come together or not at all, so neither has to be guessed.
resource "aws_cloudwatch_metric_alarm" "demand" {
  for_each = var.pools

  alarm_name          = "${var.name}-${each.key}-demand-at-zero"
  alarm_description   = "Scales pool ${each.key} from zero: there is demand, and no task is wanted yet. No person has to act."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  evaluation_periods  = 2
  datapoints_to_alarm = 1
  alarm_actions       = [aws_appautoscaling_policy.from_zero[each.key].arn]
  tags                = var.tags

  metric_query {
    id          = "waiting"
    label       = "Demand without a task"
    expression  = "IF((demand > 0) AND (desired < 1), 1, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { demand = "setpoint_pool_demand", desired = "setpoint_pool_desired_tasks" }

    content {
      id = metric_query.key

      metric {
        namespace   = "Setpoint"
        metric_name = metric_query.value
        stat        = "Maximum"
        period      = 60
        dimensions  = local.scaling_dimensions[each.key]
      }
    }
  }
}

# The same without a dispatcher: messages wait, and for minutes nobody has received any. SQS reports both of an active queue,
# zeros too. Tasks that are all busy look alike; one more is then what target tracking wants as well.
resource "aws_cloudwatch_metric_alarm" "visible" {
  for_each = var.pools

  alarm_name          = "${var.name}-${each.key}-messages-unreceived"
  alarm_description   = "Scales pool ${each.key} from zero: messages wait, and no task receives. No person has to act."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  alarm_actions       = [aws_appautoscaling_policy.from_zero[each.key].arn]
  tags                = var.tags

  metric_query {
    id          = "waiting"
    label       = "Messages that nobody receives"
    expression  = "IF((visible > 0) AND (received < 1), 1, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      visible  = { name = "ApproximateNumberOfMessagesVisible", stat = "Maximum" }
      received = { name = "NumberOfMessagesReceived", stat = "Sum" }
    }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value.name
        stat        = metric_query.value.stat
        period      = 60
        dimensions  = { QueueName = var.queues[each.key].name }
      }
    }
  }
}
