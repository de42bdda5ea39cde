mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }
}

variables {
  name  = "setpoint-dev"
  names = ["setpoint-dev/admin-token", "setpoint-dev/pools/polars", "setpoint-dev/webhooks/orders"]
}

run "named_encrypted_and_without_values" {
  command = apply

  assert {
    condition     = [for secret in aws_secretsmanager_secret.this : secret.name] == ["setpoint-dev/admin-token", "setpoint-dev/pools/polars", "setpoint-dev/webhooks/orders"]
    error_message = "One secret a name."
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : secret.kms_key_id == aws_kms_key.this.arn]) && aws_kms_key.this.enable_key_rotation
    error_message = "Secrets are encrypted with the module's own, rotated key."
  }

  assert {
    condition     = jsondecode(aws_kms_key.this.policy).Statement[*].Principal == [{ AWS = "arn:aws:iam::111122223333:root" }]
    error_message = "The key admits the account alone, where IAM says who."
  }

  assert {
    condition     = keys(output.arns) == ["setpoint-dev/admin-token", "setpoint-dev/pools/polars", "setpoint-dev/webhooks/orders"] && output.kms_key_arn == aws_kms_key.this.arn
    error_message = "What the roles are made of is given out by name."
  }
}

run "kept_for_a_month_unless_told_otherwise" {
  command = plan

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : secret.recovery_window_in_days == 30]) && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "What is deleted can be taken back."
  }
}

run "dev_can_be_destroyed_whole" {
  command = plan

  variables {
    recovery_days     = 0
    kms_deletion_days = 7
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : secret.recovery_window_in_days == 0]) && aws_kms_key.this.deletion_window_in_days == 7
    error_message = "The names are free again at once."
  }
}

run "refuses_a_name_of_another_environment" {
  command = plan
  variables {
    names = ["setpoint-prod/admin-token"]
  }
  expect_failures = [var.names]
}

run "refuses_peoples_own_secrets" {
  command = plan
  variables {
    names = ["setpoint-dev/tasks/api-key"]
  }
  expect_failures = [var.names]
}

run "refuses_bad_days" {
  command = plan
  variables {
    recovery_days     = 3
    kms_deletion_days = 3
  }
  expect_failures = [var.recovery_days, var.kms_deletion_days]
}
