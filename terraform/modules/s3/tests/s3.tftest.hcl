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
  name = "setpoint-dev"
}

run "named_versioned_and_encrypted" {
  command = apply

  assert {
    condition     = aws_s3_bucket.data.bucket == "setpoint-dev-data-111122223333" && output.bucket == "setpoint-dev-data-111122223333"
    error_message = "The bucket is called after the environment and the account."
  }

  assert {
    condition     = aws_s3_bucket_versioning.data.versioning_configuration[0].status == "Enabled"
    error_message = "The bucket is versioned."
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_server_side_encryption_configuration.data.rule :
      rule.bucket_key_enabled && rule.apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" && rule.apply_server_side_encryption_by_default[0].kms_master_key_id == aws_kms_key.this.arn
    ])
    error_message = "Objects are encrypted with the module's key, by way of a bucket key."
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && jsondecode(aws_kms_key.this.policy).Statement[*].Principal == [{ AWS = "arn:aws:iam::111122223333:root" }]
    error_message = "The key is rotated and admits the account alone."
  }
}

run "closed_to_the_public_and_by_tls_alone" {
  command = apply

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.data.block_public_acls,
      aws_s3_bucket_public_access_block.data.block_public_policy,
      aws_s3_bucket_public_access_block.data.ignore_public_acls,
      aws_s3_bucket_public_access_block.data.restrict_public_buckets,
    ])
    error_message = "Every way to the public is blocked."
  }

  assert {
    condition     = one(aws_s3_bucket_ownership_controls.data.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "The bucket's owner owns every object, and ACLs do nothing."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_s3_bucket_policy.data.policy).Statement : statement.Effect == "Deny"])
    error_message = "The bucket's policy allows nothing."
  }

  assert {
    condition = jsondecode(aws_s3_bucket_policy.data.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } } && jsondecode(aws_s3_bucket_policy.data.policy).Statement[0].Resource == [
      "arn:aws:s3:::setpoint-dev-data-111122223333", "arn:aws:s3:::setpoint-dev-data-111122223333/*",
    ]
    error_message = "Plain HTTP is refused for the bucket and its objects."
  }
}

run "what_age_does" {
  command = apply

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.data.rule : "${rule.id} ${rule.filter[0].prefix}" if rule.id != "leftovers"] == ["cold cold/", "logs logs/"]
    error_message = "Only cold data and logs have a rule of their own."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.data.rule : one(rule.transition) if rule.id == "cold"]).storage_class == "GLACIER_IR" && one([for rule in aws_s3_bucket_lifecycle_configuration.data.rule : one(rule.transition) if rule.id == "cold"]).days == 365
    error_message = "Cold data moves to Glacier Instant Retrieval after a year."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.data.rule : rule.id if coalesce(try(rule.expiration[0].days, 0), 0) > 0] == ["logs"]
    error_message = "Only logs end by age: never bundles, deployments, artifacts or cold data."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.data.rule : rule.expiration[0].days if rule.id == "logs"]) == 90
    error_message = "Logs end after log_expiry_days."
  }

  assert {
    condition = one([
      for rule in aws_s3_bucket_lifecycle_configuration.data.rule :
      rule.abort_incomplete_multipart_upload[0].days_after_initiation == 7 && rule.noncurrent_version_expiration[0].noncurrent_days == 30 && rule.expiration[0].expired_object_delete_marker
      if rule.id == "leftovers"
    ])
    error_message = "Unfinished uploads end after a week, old versions after noncurrent_days, and delete markers with them."
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.data.rule : rule.status == "Enabled"])
    error_message = "Every rule is on."
  }
}

run "protected_unless_told_otherwise" {
  command = plan

  assert {
    condition     = aws_s3_bucket.data.force_destroy == false
    error_message = "A destroy refuses a bucket with data."
  }
}

run "dev_can_be_destroyed_whole_and_prod_can_choose" {
  command = plan

  variables {
    bucket             = "company-data"
    force_destroy      = true
    cold_storage_class = "DEEP_ARCHIVE"
    log_expiry_days    = 14
  }

  assert {
    condition     = aws_s3_bucket.data.force_destroy && aws_s3_bucket.data.bucket == "company-data"
    error_message = "The bucket goes with its data."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.data.rule : one(rule.transition).storage_class if rule.id == "cold"]) == "DEEP_ARCHIVE"
    error_message = "The storage class is the environment's choice."
  }
}

run "refuses_a_class_that_is_no_glacier" {
  command = plan
  variables {
    cold_storage_class = "STANDARD_IA"
  }
  expect_failures = [var.cold_storage_class]
}

run "refuses_a_bucket_with_dots" {
  command = plan
  variables {
    bucket = "data.example.com"
  }
  expect_failures = [var.bucket]
}

run "refuses_other_bad_words" {
  command = plan
  variables {
    name              = "Dev"
    cold_after_days   = 0
    log_expiry_days   = 0.5
    noncurrent_days   = 0
    kms_deletion_days = 31
  }
  expect_failures = [var.name, var.cold_after_days, var.log_expiry_days, var.noncurrent_days, var.kms_deletion_days]
}
