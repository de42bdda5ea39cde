data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.name
  rule_arns = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${var.name}-*"
}

# A tick is a hint: the dispatcher decides by what is due, and looks at all schedules every minute. So a lost tick costs
# at most that minute, and no target has a dead-letter queue.

resource "aws_cloudwatch_event_rule" "schedule" {
  for_each = toset(local.ruled)

  # Readable as far as 64 characters go; the digest keeps dag a-b, schedule c apart from dag a, schedule b-c.
  name                = "${substr("${var.name}-${replace(each.key, "/", "-")}", 0, 55)}-${substr(sha256(each.key), 0, 8)}"
  description         = "Schedule ${each.key} (namespace/dag/schedule): ${local.schedules[each.key].cron}"
  schedule_expression = local.expressions[each.key]
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "schedule" {
  for_each = aws_cloudwatch_event_rule.schedule

  rule      = each.value.name
  target_id = "cron"
  arn       = var.cron_function.arn

  input = jsonencode({
    type      = "cron"
    namespace = local.schedules[each.key].namespace
    dag       = local.schedules[each.key].dag
    schedule  = local.schedules[each.key].schedule
  })

  retry_policy {
    maximum_event_age_in_seconds = 300
    maximum_retry_attempts       = 3
  }
}

resource "aws_cloudwatch_event_rule" "tick" {
  name                = "${var.name}-tick"
  description         = "Every minute: the dispatcher looks at all schedules"
  schedule_expression = "rate(1 minute)"
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "tick" {
  rule      = aws_cloudwatch_event_rule.tick.name
  target_id = "cron"
  arn       = var.cron_function.arn
  input     = jsonencode({ type = "cron" })

  # The next tick says the same.
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 1
  }
}

# One permission for all rules: a function's policy has room for some sixty statements.
resource "aws_lambda_permission" "cron" {
  statement_id   = "eventbridge"
  action         = "lambda:InvokeFunction"
  function_name  = var.cron_function.name
  principal      = "events.amazonaws.com"
  source_account = local.account
  source_arn     = local.rule_arns
}

resource "aws_cloudwatch_event_rule" "stopped" {
  name        = "${var.name}-task-stopped"
  description = "A task of cluster ${var.name} stopped: what it ran is looked at now, not when its lease ends"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Task State Change"]
    detail = {
      clusterArn = [var.cluster_arn]
      lastStatus = ["STOPPED"]
    }
  })
}

resource "aws_cloudwatch_event_target" "stopped" {
  rule      = aws_cloudwatch_event_rule.stopped.name
  target_id = "ecs-state"
  arn       = var.ecs_state_function.arn

  # Leases find a stopped task too, some seconds later.
  retry_policy {
    maximum_event_age_in_seconds = 300
    maximum_retry_attempts       = 3
  }
}

resource "aws_lambda_permission" "stopped" {
  statement_id   = "eventbridge"
  action         = "lambda:InvokeFunction"
  function_name  = var.ecs_state_function.name
  principal      = "events.amazonaws.com"
  source_account = local.account
  source_arn     = aws_cloudwatch_event_rule.stopped.arn
}

check "files_parse" {
  assert {
    condition     = length(module.manifests.unparsed) == 0
    error_message = "No YAML with a kind, so no rule is made of it: ${join(", ", module.manifests.unparsed)}. `setpoint apply --dry-run` says where."
  }
}
