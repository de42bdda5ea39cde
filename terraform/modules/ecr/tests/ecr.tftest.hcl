mock_provider "aws" {}

variables {
  name         = "setpoint-dev"
  repositories = ["dispatcher", "worker-ingest", "worker-polars", "worker-python"]
}

run "immutable_scanned_and_encrypted" {
  command = apply

  assert {
    condition     = [for repository in aws_ecr_repository.this : repository.name] == ["setpoint-dev/dispatcher", "setpoint-dev/worker-ingest", "setpoint-dev/worker-polars", "setpoint-dev/worker-python"]
    error_message = "Repositories are called <name>/<repository>."
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE"])
    error_message = "A tag means one image for ever."
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_scanning_configuration[0].scan_on_push && repository.encryption_configuration[0].encryption_type == "KMS"])
    error_message = "Images are scanned when pushed and encrypted by KMS."
  }

  assert {
    condition     = keys(output.repositories) == ["dispatcher", "worker-ingest", "worker-polars", "worker-python"] && output.repositories["dispatcher"].name == "setpoint-dev/dispatcher"
    error_message = "The repositories are given out by key."
  }
}

run "what_runs_is_not_expired" {
  command = apply

  assert {
    condition = alltrue([
      for policy in aws_ecr_lifecycle_policy.this :
      alltrue([for rule in jsondecode(policy.policy).rules : rule.selection.tagStatus == "untagged" || rule.selection.countType == "imageCountMoreThan"])
    ])
    error_message = "No tagged image ends by age: what runs, or a rollback wants, may be old."
  }

  assert {
    condition     = alltrue([for policy in aws_ecr_lifecycle_policy.this : one([for rule in jsondecode(policy.policy).rules : rule.selection.countNumber if rule.selection.tagStatus == "any"]) == 100])
    error_message = "The newest hundred stay."
  }
}

run "protected_unless_told_otherwise" {
  command = plan

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.force_delete == false])
    error_message = "A destroy refuses a repository with images."
  }
}

run "dev_can_be_destroyed_whole" {
  command = plan

  variables {
    force_delete = true
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.force_delete])
    error_message = "The repositories go with their images."
  }
}

run "refuses_no_repository" {
  command = plan
  variables {
    repositories = []
  }
  expect_failures = [var.repositories]
}

run "refuses_bad_words" {
  command = plan
  variables {
    name         = "Dev"
    repositories = ["Worker"]
    keep_images  = 3
  }
  expect_failures = [var.name, var.repositories, var.keep_images]
}
