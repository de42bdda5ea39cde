locals {
  gib = 1024 * 1024 * 1024

  database_alarms = {
    storage = {
      metric      = "FreeStorageSpace"
      statistic   = "Minimum"
      comparison  = "LessThanThreshold"
      threshold   = var.database_free_gib * local.gib
      minutes     = 5
      description = "less than ${var.database_free_gib} GiB of its storage are free. It could not grow: raise max_storage_gib, or wait out the 6 hours after its last growth."
    }
    cpu = {
      metric      = "CPUUtilization"
      statistic   = "Average"
      comparison  = "GreaterThanThreshold"
      threshold   = 80
      minutes     = 15
      description = "its CPU is above 80 % for 15 minutes. Look for slow statements in its log, or take a larger instance class."
    }
    connections = {
      metric      = "DatabaseConnections"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = try(floor(0.8 * var.database.max_connections), 0)
      minutes     = 5
      description = "more than 80 % of its connections are in use. The pools and dispatchers may not open so many: somebody else does."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "dispatcher_unhealthy" {
  for_each = var.load_balancers

  alarm_name        = "${var.name}-dispatcher-unhealthy-${each.key}"
  alarm_description = "A dispatcher behind the ${each.key} load balancer fails its health check for 5 minutes. Look at the service's events and the dispatcher's log."

  namespace           = "AWS/ApplicationELB"
  metric_name         = "UnHealthyHostCount"
  dimensions          = { LoadBalancer = each.value.load_balancer, TargetGroup = each.value.target_group }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each = var.database == null ? {} : local.database_alarms

  alarm_name        = "${var.name}-database-${each.key}"
  alarm_description = "Database ${var.database.identifier}: ${each.value.description}"

  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBInstanceIdentifier = var.database.identifier }
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  tags = var.tags
}

locals {
  alarms = concat(
    values(aws_cloudwatch_metric_alarm.queue_age),
    values(aws_cloudwatch_metric_alarm.dead_letters),
    values(aws_cloudwatch_metric_alarm.defined),
    values(aws_cloudwatch_metric_alarm.dispatcher_unhealthy),
    values(aws_cloudwatch_metric_alarm.database),
  )
  alarm_names = [for alarm in local.alarms : alarm.alarm_name]
}
