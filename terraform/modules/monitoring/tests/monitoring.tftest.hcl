mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:111122223333:setpoint-dev-alarms" }
  }
  mock_resource "aws_cloudwatch_metric_alarm" {
    defaults = { arn = "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:setpoint-dev" }
  }
}

variables {
  name        = "setpoint-dev"
  environment = "dev"
  pools = {
    polars = { pool = "polars", queue = "setpoint-dev-polars.fifo", dlq = "setpoint-dev-polars-dlq.fifo" }
    lambda = { pool = "lambda" }
  }
  database = { identifier = "setpoint-dev", max_connections = 187 }
  load_balancers = {
    internal = { load_balancer = "app/setpoint-dev-internal/1", target_group = "targetgroup/setpoint-dev-internal/1" }
    public   = { load_balancer = "app/setpoint-dev-public/2", target_group = "targetgroup/setpoint-dev-public/2" }
  }
  lambda_functions = ["setpoint-dev-cron", "setpoint-dev-operator"]
  failures_queue   = "setpoint-dev-lambda-failures"
  alarm_emails     = ["ops@example.com"]
}

run "every_alarm_goes_to_the_one_topic" {
  command = apply

  assert {
    condition = output.alarm_names == tolist(sort(concat(
      [
        "setpoint-dev-database-connections", "setpoint-dev-database-cpu", "setpoint-dev-database-storage",
        "setpoint-dev-dispatcher-unhealthy-internal", "setpoint-dev-dispatcher-unhealthy-public",
        "setpoint-dev-polars-dlq-age", "setpoint-dev-polars-queue-age",
      ],
      [for name in keys(local.of_system) : "setpoint-dev-${name}"],
      [for name in keys(local.of_pools) : "setpoint-dev-${name}"],
    )))
    error_message = "These alarms, and no others."
  }

  assert {
    condition     = alltrue([for alarm in local.alarms : toset(alarm.alarm_actions) == toset([aws_sns_topic.alarms.arn]) && toset(alarm.ok_actions) == toset([aws_sns_topic.alarms.arn])])
    error_message = "Each alarm tells the topic when it goes off and when it is over."
  }

  assert {
    condition     = alltrue([for alarm in local.alarms : length(alarm.alarm_description) > 60])
    error_message = "Each alarm says what to look at."
  }

  assert {
    condition     = keys(aws_sns_topic_subscription.email) == ["ops@example.com"] && aws_sns_topic_subscription.email["ops@example.com"].protocol == "email"
    error_message = "The addresses are subscribed."
  }
}

run "the_topic_is_encrypted_and_takes_our_alarms_alone" {
  command = apply

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "The topic is encrypted with the module's own, rotated key."
  }

  assert {
    condition     = jsondecode(aws_kms_key.this.policy).Statement[1].Principal == { Service = "cloudwatch.amazonaws.com" } && jsondecode(aws_kms_key.this.policy).Statement[1].Condition.StringEquals["aws:SourceAccount"] == "111122223333"
    error_message = "Without the key CloudWatch cannot publish, and only for this account may it use it."
  }

  assert {
    condition     = jsondecode(aws_sns_topic.alarms.policy).Statement[0].Condition.ArnLike["aws:SourceArn"] == "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:setpoint-dev-*"
    error_message = "Only alarms of this environment publish."
  }

  assert {
    condition     = jsondecode(aws_sns_topic.alarms.policy).Statement[1].Effect == "Deny" && jsondecode(aws_sns_topic.alarms.policy).Statement[1].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "Plain HTTP is refused."
  }
}

run "what_is_an_alarm" {
  command = apply

  assert {
    condition     = aws_cloudwatch_metric_alarm.queue_age["polars"].metric_name == "ApproximateAgeOfOldestMessage" && aws_cloudwatch_metric_alarm.queue_age["polars"].dimensions == tomap({ QueueName = "setpoint-dev-polars.fifo" }) && aws_cloudwatch_metric_alarm.queue_age["polars"].threshold == 900
    error_message = "A queue whose oldest message waits."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letters["polars"].dimensions == tomap({ QueueName = "setpoint-dev-polars-dlq.fifo" }) && aws_cloudwatch_metric_alarm.dead_letters["polars"].threshold == 600
    error_message = "A dead letter that the dispatcher leaves for ten minutes."
  }

  assert {
    condition     = length(local.definitions) > 15 && alltrue([for name in keys(local.of_pools) : startswith(name, "polars-") || startswith(name, "lambda-")])
    error_message = "Every definition is read, those of pools once a pool."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.defined["polars-attempts-undeliverable"].namespace == "Setpoint" && aws_cloudwatch_metric_alarm.defined["polars-attempts-undeliverable"].metric_name == "setpoint_attempts_undeliverable_total" && aws_cloudwatch_metric_alarm.defined["polars-attempts-undeliverable"].dimensions == tomap({ env = "dev", pool = "polars" })
    error_message = "An undeliverable attempt, by pool."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.defined["no-leader"].metric_name == "leader_election_master_status" && aws_cloudwatch_metric_alarm.defined["no-leader"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.defined["no-leader"].dimensions == tomap({ env = "dev" })
    error_message = "No data of a leader is the alarm."
  }

  assert {
    condition     = alltrue([for alarm in local.alarms : alarm.treat_missing_data == "notBreaching" if alarm.alarm_name != "setpoint-dev-no-leader"])
    error_message = "Elsewhere no data is no alarm: a pool at zero tasks has none."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.dispatcher_unhealthy["public"].metric_name == "UnHealthyHostCount" && aws_cloudwatch_metric_alarm.dispatcher_unhealthy["public"].dimensions == tomap({ LoadBalancer = "app/setpoint-dev-public/2", TargetGroup = "targetgroup/setpoint-dev-public/2" })
    error_message = "A dispatcher that a load balancer finds unhealthy."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.defined["runs-failing"].metric_name == "setpoint_runs_failed_total" && aws_cloudwatch_metric_alarm.defined["runs-failing"].threshold == 0 && aws_cloudwatch_metric_alarm.defined["invariant-violated"].metric_name == "setpoint_invariant_violations"
    error_message = "A failed run and a broken invariant."
  }

  assert {
    condition = { for key, alarm in aws_cloudwatch_metric_alarm.database : alarm.metric_name => alarm.threshold } == {
      CPUUtilization      = 80
      DatabaseConnections = 149
      FreeStorageSpace    = 1073741824
    }
    error_message = "The database's CPU, connections (80 % of max_connections) and storage."
  }

  assert {
    condition     = { for query in aws_cloudwatch_metric_alarm.defined["polars-pool-at-max"].metric_query : query.id => try(one(query.metric).metric_name, query.expression) } == { m0 = "setpoint_pool_desired_tasks", m1 = "setpoint_pool_max_tasks", m2 = "setpoint_pool_utilization", holds = "IF(m0 >= m1 AND m2 > 1, 1, 0)" }
    error_message = "A pool at its max tasks that wants more."
  }
}

run "the_dashboard_shows_it_all" {
  command = apply

  assert {
    condition = [for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.title if try(widget.properties.title, null) != null] == concat(
      ["Alarms"],
      [for widget in local.defined_widgets : widget.properties.title if widget.type == "metric"],
      [
        "Queues: messages that wait", "Queues: messages in flight", "Queues: age of the oldest message (s)", "Dead letters",
        "Database: CPU (%)", "Database: connections", "Database: free storage (bytes)",
        "API: latency (s)", "API: 5xx",
        "Lambda: errors", "Lambda: throttles", "Lambda: failed invocations that wait for the dispatcher",
      ],
    )
    error_message = "These panels, in this order."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets[0].properties.alarms) == length(output.alarm_names)
    error_message = "Every alarm stands at the top."
  }

  assert {
    condition     = !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "__") && strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "MetricName=\\\"setpoint_pool_demand\\\" env=\\\"dev\\\"")
    error_message = "The environment stands in every search."
  }

  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : length(widget.properties.metrics) > 0 && widget.properties.region == "eu-central-1" if widget.type == "metric"])
    error_message = "CloudWatch refuses a panel without metrics or region."
  }
}

run "without_what_is_not_ours" {
  command = apply

  variables {
    pools            = {}
    database         = null
    load_balancers   = {}
    lambda_functions = []
    failures_queue   = null
    alarm_emails     = []
  }

  assert {
    condition     = output.alarm_names == tolist(sort([for name in keys(local.of_system) : "setpoint-dev-${name}"]))
    error_message = "A database of one's own is watched elsewhere."
  }

  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : length(widget.properties.metrics) > 0 if widget.type == "metric"])
    error_message = "No panel is empty."
  }
}

run "refuses_a_queue_without_its_dead_letters" {
  command = plan
  variables {
    pools = { polars = { pool = "polars", queue = "setpoint-dev-polars.fifo" } }
  }
  expect_failures = [var.pools]
}

run "refuses_arns_for_suffixes" {
  command = plan
  variables {
    load_balancers = { public = { load_balancer = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/app/x/1", target_group = "targetgroup/x/1" } }
  }
  expect_failures = [var.load_balancers]
}

run "refuses_bad_words" {
  command = plan
  variables {
    environment         = "Dev"
    database            = { identifier = "setpoint-dev", max_connections = 0 }
    lambda_functions    = ["arn:aws:lambda:eu-central-1:1:function:x"]
    failures_queue      = "setpoint-dev-lambda-failures.fifo"
    alarm_emails        = ["ops"]
    queue_age_seconds   = 1
    failed_runs         = -1
    pool_at_max_minutes = 0
    database_free_gib   = 0
    kms_deletion_days   = 3
  }
  expect_failures = [
    var.environment, var.database, var.lambda_functions, var.failures_queue, var.alarm_emails, var.queue_age_seconds,
    var.failed_runs, var.pool_at_max_minutes, var.database_free_gib, var.kms_deletion_days,
  ]
}
