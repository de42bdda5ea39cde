mock_provider "aws" {
  source = "../../mocks"
}

# What API Gateway and Logs would call theirs, which permissions and roles are made of.
override_resource {
  target          = aws_apigatewayv2_api.webhooks
  override_during = plan
  values          = { id = "api1", execution_arn = "arn:aws:execute-api:us-east-1:123456789012:api1", api_endpoint = "https://api1.example" }
}

override_resource {
  target          = aws_cloudwatch_log_group.function
  override_during = plan
  values          = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:function" }
}

variables {
  name               = "setpoint-test"
  lambda_zips        = "./tests/zips"
  network            = { vpc_id = "vpc-1", private_subnet_ids = ["subnet-1", "subnet-2"] }
  api                = { url = "https://dispatcher.setpoint-test.internal", ca_pem = "PEM" }
  data_bucket        = { name = "data", arn = "arn:aws:s3:::data", kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/data" }
  failures_queue_arn = "arn:aws:sqs:us-east-1:123456789012:setpoint-test-lambda-failures"
  webhook_prefixes   = ["bank", "shop"]

  secrets = {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/secrets"
    arns = {
      for name in ["admin-token", "events-token", "signing-key", "pools/lambda", "pools/polars", "webhooks/bank", "webhooks/shop"] :
      "setpoint-test/${name}" => "arn:aws:secretsmanager:us-east-1:123456789012:secret:setpoint-test/${name}-abcdef"
    }
  }
}

run "four_functions" {
  command = plan

  assert {
    condition = { for key, f in aws_lambda_function.this : f.function_name => f.handler } == {
      setpoint-test-cron      = "workers.aws.cron.handler"
      setpoint-test-webhook   = "workers.aws.webhook.handler"
      setpoint-test-ecs-state = "workers.aws.ecs_state.handler"
      setpoint-test-operator  = "workers.aws.operator.handler"
    }
    error_message = "Each function has its name and its handler."
  }

  assert {
    condition = alltrue([
      for f in values(aws_lambda_function.this) : f.runtime == "python3.13" && join(",", f.architectures) == "x86_64" &&
      f.tracing_config[0].mode == "Active" && length(f.vpc_config[0].subnet_ids) == 2
    ])
    error_message = "Functions run Python 3.13 in the VPC and are traced."
  }

  assert {
    condition     = aws_lambda_function.this["operator"].timeout == 900 && aws_lambda_function.this["cron"].timeout == 30
    error_message = "The operator has Lambda's most, a source half a minute."
  }

  assert {
    condition     = alltrue([for f in values(aws_lambda_function.this) : f.environment[0].variables["SETPOINT_API_CA"] == "PEM"])
    error_message = "Functions trust the authority of the dispatcher's certificate."
  }
}

run "a_failed_operator_is_the_dispatchers_to_retry" {
  command = plan

  assert {
    condition = (
      aws_lambda_function_event_invoke_config.operator.maximum_retry_attempts == 0 &&
      aws_lambda_function_event_invoke_config.operator.maximum_event_age_in_seconds == 60 &&
      aws_lambda_function_event_invoke_config.operator.destination_config[0].on_failure[0].destination == var.failures_queue_arn
    )
    error_message = "Lambda repeats nothing, waits no longer than the claim deadline, and tells the failures queue."
  }
}

run "each_prefix_has_its_routes" {
  command = plan

  assert {
    condition = toset([for r in values(aws_apigatewayv2_route.webhook) : r.route_key]) == toset([
      "POST /hooks/bank", "POST /hooks/bank/{proxy+}", "POST /hooks/shop", "POST /hooks/shop/{proxy+}",
    ])
    error_message = "Only declared prefixes can be posted to."
  }

  assert {
    condition = toset([for p in values(aws_lambda_permission.webhook) : p.source_arn]) == toset([
      for path in ["bank", "bank/*", "shop", "shop/*"] : "arn:aws:execute-api:us-east-1:123456789012:api1/*/POST/hooks/${path}"
    ])
    error_message = "Each route has a permission of its own."
  }

  assert {
    condition     = aws_apigatewayv2_stage.default.default_route_settings[0].throttling_rate_limit == 50 && !strcontains(aws_apigatewayv2_stage.default.access_log_settings[0].format, "header")
    error_message = "The API is throttled, and its log holds no headers."
  }
}

run "roles_reach_little" {
  command = plan

  assert {
    condition     = local.secrets["cron"] == [var.secrets.arns["setpoint-test/events-token"]] && local.secrets["operator"] == [var.secrets.arns["setpoint-test/pools/lambda"]]
    error_message = "A source reads the events token, the operator its pool's."
  }

  assert {
    condition     = length(local.secrets["webhook"]) == 3
    error_message = "The webhook function reads the secrets of its prefixes besides."
  }

  assert {
    condition = alltrue([
      for s in jsondecode(aws_iam_role_policy.this["operator"].policy).Statement : s.Effect == "Deny" || s.Sid == "Trace" || !contains(s.Resource, "*")
    ])
    error_message = "What is allowed names its resources."
  }

  assert {
    condition = length([
      for s in jsondecode(aws_iam_role_policy.this["operator"].policy).Statement : s
      if s.Effect == "Allow" && anytrue([for a in s.Action : startswith(a, "rds-db:") || startswith(a, "ecs:") || a == "sqs:ReceiveMessage"])
    ]) == 0
    error_message = "The operator reaches no database, no cluster and no pool's queue."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.this["operator"].policy, "cold/") && !strcontains(aws_iam_role_policy.this["operator"].policy, "tasks/")
    error_message = "The operator reaches no data and no task secrets."
  }
}

run "zips_come_first" {
  command = plan

  variables {
    lambda_zips = "./tests/nowhere"
  }

  expect_failures = [var.lambda_zips]
}

run "a_prefix_is_one_segment" {
  command = plan

  variables {
    webhook_prefixes = ["a/b"]
  }

  expect_failures = [var.webhook_prefixes]
}

run "control_secrets_cannot_be_granted" {
  command = plan

  variables {
    operator = { secret_names = ["setpoint-test/admin-token"] }
  }

  expect_failures = [var.operator]
}
