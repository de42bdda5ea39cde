mock_provider "aws" {
  source = "../../mocks"
}

variables {
  dags_dir        = "../../modules/manifests/tests/dags/good"
  lambda_zips     = "../../modules/lambda/tests/zips"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
}

run "plans" {
  command = plan

  assert {
    condition     = output.deployment.name == "setpoint-prod" && output.deployment.environment == "prod" && output.deployment.dispatcher_tasks == 2
    error_message = "Two dispatchers: one leads, one takes over."
  }

  assert {
    condition     = local.operator.concurrency == 20
    error_message = "The operator's concurrency is its pool's limit."
  }

  assert {
    condition     = length(module.vpc) == 1 && length(module.rds) == 1
    error_message = "Nothing is brought unless said."
  }
}

run "never_without_tls" {
  command = plan

  variables {
    certificate_arn = null
  }

  expect_failures = [var.certificate_arn]
}

run "never_one_dispatcher" {
  command = plan

  variables {
    dispatcher_tasks = 1
  }

  expect_failures = [var.dispatcher_tasks]
}
