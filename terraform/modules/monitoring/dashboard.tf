locals {
  # Made by `python -m controller.monitoring` from the definitions that Grafana's dashboard is made from.
  defined_widgets = jsondecode(replace(replace(
    file("${path.module}/generated/dashboard.json"),
    "__ENVIRONMENT__", var.environment),
    "__REGION__", local.region
  ))

  queue_panels = length(local.queued_pools) == 0 ? [] : [
    {
      title   = "Queues: messages that wait"
      stat    = "Maximum"
      metrics = [for pool in values(local.queued_pools) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", pool.queue, { label = pool.pool }]]
    },
    {
      title   = "Queues: messages in flight"
      stat    = "Maximum"
      metrics = [for pool in values(local.queued_pools) : ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", pool.queue, { label = pool.pool }]]
    },
    {
      title   = "Queues: age of the oldest message (s)"
      stat    = "Maximum"
      metrics = [for pool in values(local.queued_pools) : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", pool.queue, { label = pool.pool }]]
    },
    {
      title   = "Dead letters"
      stat    = "Maximum"
      metrics = [for pool in values(local.queued_pools) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", pool.dlq, { label = pool.pool }]]
    },
  ]

  database_panels = var.database == null ? [] : [
    {
      title   = "Database: CPU (%)"
      stat    = "Average"
      metrics = [["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", var.database.identifier]]
    },
    {
      title   = "Database: connections"
      stat    = "Maximum"
      metrics = [["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", var.database.identifier]]
    },
    {
      title   = "Database: free storage (bytes)"
      stat    = "Minimum"
      metrics = [["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", var.database.identifier]]
    },
  ]

  balancer_panels = length(var.load_balancers) == 0 ? [] : [
    {
      title = "API: latency (s)"
      stat  = "p99"
      metrics = flatten([
        for name, balancer in var.load_balancers : [
          for stat in ["p50", "p99"] : {
            line = ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", balancer.load_balancer, { label = "${name} ${stat}", stat = stat }]
          }
        ]
      ])[*].line
    },
    {
      title = "API: 5xx"
      stat  = "Sum"
      metrics = flatten([
        for name, balancer in var.load_balancers : [
          for source in ["Target", "ELB"] : {
            line = ["AWS/ApplicationELB", "HTTPCode_${source}_5XX_Count", "LoadBalancer", balancer.load_balancer, { label = "${name} ${lower(source)}" }]
          }
        ]
      ])[*].line
    },
  ]

  lambda_panels = concat(
    length(var.lambda_functions) == 0 ? [] : [
      {
        title   = "Lambda: errors"
        stat    = "Sum"
        metrics = [for function in var.lambda_functions : ["AWS/Lambda", "Errors", "FunctionName", function]]
      },
      {
        title   = "Lambda: throttles"
        stat    = "Sum"
        metrics = [for function in var.lambda_functions : ["AWS/Lambda", "Throttles", "FunctionName", function]]
      },
    ],
    var.failures_queue == null ? [] : [{
      title   = "Lambda: failed invocations that wait for the dispatcher"
      stat    = "Maximum"
      metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.failures_queue]]
    }],
  )

  # One string a panel, because the panels' metrics are tuples of different lengths, which a list cannot hold.
  panels = concat(
    [for panel in local.queue_panels : jsonencode(panel)],
    [for panel in local.database_panels : jsonencode(panel)],
    [for panel in local.balancer_panels : jsonencode(panel)],
    [for panel in local.lambda_panels : jsonencode(panel)],
  )

  dashboard = {
    widgets = [for widget in concat(
      [jsonencode({
        type       = "alarm"
        width      = 24
        height     = 3
        properties = { title = "Alarms", alarms = [for alarm in local.alarms : alarm.arn] }
      })],
      [for widget in local.defined_widgets : jsonencode(widget)],
      [for panel in local.panels : jsonencode({
        type   = "metric"
        width  = 8
        height = 6
        properties = merge(jsondecode(panel), {
          region = local.region
          view   = "timeSeries"
          period = 60
          yAxis  = { left = { min = 0 } }
        })
      })],
    ) : jsondecode(widget)]
  }
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode(local.dashboard)
}
