locals {
  # Made by `python -m controller.monitoring` from the definitions that Prometheus's rules are made from.
  definitions = jsondecode(file("${path.module}/generated/alarms.json"))

  # What an environment decides for itself.
  overrides = {
    runs-failing = { threshold = var.failed_runs }
    pool-at-max  = { periods = var.pool_at_max_minutes }
  }

  defined = { for name, alarm in local.definitions : name => {
    per         = alarm.per
    description = alarm.description
    missing     = alarm.missing
    comparison  = alarm.comparison
    period      = alarm.period
    periods     = try(local.overrides[name].periods, alarm.periods)
    threshold   = try(local.overrides[name].threshold, alarm.threshold)
    # Either one metric, or an expression over several.
    metric     = try(alarm.metric, null)
    statistic  = try(alarm.statistic, null)
    expression = try(alarm.expression, null)
    queries    = try(alarm.queries, {})
  } }

  of_system = { for name, alarm in local.defined : name => merge(alarm, { dimensions = { env = var.environment } }) if alarm.per == "system" }

  of_pools = merge([
    for service, pool in var.pools : {
      for name, alarm in local.defined : "${service}-${name}" => merge(alarm, { dimensions = { env = var.environment, pool = pool.pool } }) if alarm.per == "pool"
    }
  ]...)
}

resource "aws_cloudwatch_metric_alarm" "defined" {
  for_each = merge(local.of_system, local.of_pools)

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = each.value.description

  namespace           = each.value.metric == null ? null : "Setpoint"
  metric_name         = each.value.metric
  dimensions          = each.value.metric == null ? null : each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.metric == null ? null : each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing

  dynamic "metric_query" {
    for_each = each.value.expression == null ? [] : [each.value.expression]

    content {
      id          = "holds"
      label       = "all of it holds"
      expression  = metric_query.value
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = each.value.queries

    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = "Setpoint"
        metric_name = metric_query.value
        dimensions  = each.value.dimensions
        period      = each.value.period
        stat        = "Maximum"
      }
    }
  }

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  tags = var.tags
}
