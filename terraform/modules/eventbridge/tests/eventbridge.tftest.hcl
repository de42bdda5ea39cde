mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name               = "setpoint-test"
  dags_dir           = "./tests/dags"
  cron_function      = { name = "setpoint-test-cron", arn = "arn:aws:lambda:us-east-1:123456789012:function:setpoint-test-cron" }
  ecs_state_function = { name = "setpoint-test-ecs-state", arn = "arn:aws:lambda:us-east-1:123456789012:function:setpoint-test-ecs-state" }
  cluster_arn        = "arn:aws:ecs:us-east-1:123456789012:cluster/setpoint-test"
}

run "cron_lines_become_rules" {
  command = plan

  assert {
    condition = output.expressions == {
      "default/orders/always"    = "cron(* * * * ? *)"
      "default/orders/default"   = "cron(30 6 * * ? *)"
      "default/orders/monthly"   = "cron(0 0 1 * ? *)"
      "default/orders/odd-days"  = "cron(0 0 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * ? *)"
      "default/orders/quarterly" = "cron(0,15,30,45 8,9,10 ? * MON,TUE,WED,THU,FRI *)"
      "default/orders/sundays"   = "cron(0 0 ? * SUN *)"
      "default/orders/weekend"   = "cron(5 1 ? 1,3,5 SAT,SUN *)"
      "default/orders/zulu"      = "cron(0 1 * * ? *)"
    }
    error_message = "Each line must keep its meaning: ${jsonencode(output.expressions)}"
  }

  assert {
    condition     = length(output.ticked) == 12 && alltrue([for key in output.ticked : strcontains(key, "/x-")])
    error_message = "What a rule cannot say rides the tick: ${jsonencode(output.ticked)}"
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_target.schedule["default/orders/default"].input) == { type = "cron", namespace = "default", dag = "orders", schedule = "default" }
    error_message = "A rule's input names its schedule."
  }

  assert {
    condition     = alltrue([for name in values(output.rules) : length(name) <= 64 && startswith(name, "setpoint-test-")])
    error_message = "A rule's name begins with the environment's, which its permission goes by, and has at most 64 characters."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.tick.schedule_expression == "rate(1 minute)" && jsondecode(aws_cloudwatch_event_target.tick.input) == { type = "cron" }
    error_message = "The platform tick comes every minute."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.stopped.event_pattern).detail == { clusterArn = [var.cluster_arn], lastStatus = ["STOPPED"] }
    error_message = "Only stopped tasks of this cluster are told."
  }

  assert {
    condition     = aws_lambda_permission.cron.source_arn == "arn:aws:events:us-east-1:123456789012:rule/setpoint-test-*"
    error_message = "One permission serves all rules of this environment, and no other's."
  }
}

run "beyond_the_limit_schedules_ride_the_tick" {
  command = plan

  variables {
    max_rules = 3
  }

  assert {
    condition     = length(output.rules) == 3 && length(output.ticked) == 17
    error_message = "Rules are bounded."
  }
}

run "a_broken_file_is_named_and_blocks_nothing" {
  command = plan

  variables {
    dags_dir = "./tests/broken"
  }

  expect_failures = [check.files_parse]

  assert {
    condition     = output.unparsed == tolist(["bad.yaml"]) && output.expressions == { "default/good/default" = "cron(0 0 * * ? *)" }
    error_message = "The other files' schedules have their rules."
  }
}

run "rules_are_at_most_250" {
  command = plan

  variables {
    max_rules = 251
  }

  expect_failures = [var.max_rules]
}
