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

  override_resource {
    target = aws_sqs_queue.dead_letter["polars"]
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:setpoint-dev-polars-dlq.fifo", url = "https://sqs/polars-dlq" }
  }
  override_resource {
    target = aws_sqs_queue.dead_letter["team-python"]
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:setpoint-dev-team-python-dlq.fifo", url = "https://sqs/team-python-dlq" }
  }
}

variables {
  queues = {
    polars      = "setpoint-dev-polars.fifo"
    team-python = "setpoint-dev-team-python.fifo"
  }
  failures_queue_name = "setpoint-dev-lambda-failures"
}

run "a_fifo_queue_and_a_dead_letter_queue_a_pool" {
  command = apply

  assert {
    condition     = [for queue in aws_sqs_queue.pool : queue.name] == ["setpoint-dev-polars.fifo", "setpoint-dev-team-python.fifo"]
    error_message = "The queues are called as given."
  }

  assert {
    condition     = [for queue in aws_sqs_queue.dead_letter : queue.name] == ["setpoint-dev-polars-dlq.fifo", "setpoint-dev-team-python-dlq.fifo"]
    error_message = "The dead-letter queues are called as the controller expects."
  }

  assert {
    condition     = alltrue([for queue in concat(values(aws_sqs_queue.pool), values(aws_sqs_queue.dead_letter)) : queue.fifo_queue && queue.deduplication_scope == "messageGroup" && queue.fifo_throughput_limit == "perMessageGroupId"])
    error_message = "High throughput, in the dead-letter queue too: another scope there would take distinct messages for one."
  }

  assert {
    condition     = alltrue([for queue in concat(values(aws_sqs_queue.pool), values(aws_sqs_queue.dead_letter)) : queue.content_based_deduplication == false])
    error_message = "The sender names the deduplication id; by content the second delivery would be dropped."
  }
}

run "five_minutes_three_receives_fourteen_days" {
  command = apply

  assert {
    condition     = alltrue([for queue in aws_sqs_queue.pool : queue.visibility_timeout_seconds == 300 && queue.message_retention_seconds == 1209600])
    error_message = "Visibility 300 s, retention 14 days."
  }

  assert {
    condition     = alltrue([for queue in aws_sqs_queue.dead_letter : queue.message_retention_seconds == 1209600])
    error_message = "A dead letter must not expire before its queue's messages do."
  }

  assert {
    condition = alltrue([
      for key, queue in aws_sqs_queue.pool :
      jsondecode(queue.redrive_policy).maxReceiveCount == 3 && jsondecode(queue.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead_letter[key].arn
    ])
    error_message = "The third receive without a delete moves a message to the pool's own dead-letter queue."
  }

  assert {
    condition = alltrue([
      for key, queue in aws_sqs_queue.dead_letter :
      jsondecode(queue.redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = ["arn:aws:sqs:eu-central-1:111122223333:${var.queues[key]}"] }
    ])
    error_message = "A dead-letter queue takes from its own queue alone."
  }
}

run "encrypted_and_by_tls_alone" {
  command = apply

  assert {
    condition     = alltrue([for queue in concat(values(aws_sqs_queue.pool), values(aws_sqs_queue.dead_letter), [aws_sqs_queue.failures]) : queue.sqs_managed_sse_enabled])
    error_message = "Every queue is encrypted by SQS."
  }

  assert {
    condition = alltrue([
      for queue in concat(values(aws_sqs_queue.pool), values(aws_sqs_queue.dead_letter), [aws_sqs_queue.failures]) :
      jsondecode(queue.policy).Statement == [{
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sqs:*"
        Resource  = "arn:aws:sqs:eu-central-1:111122223333:${queue.name}"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    ])
    error_message = "Every queue's policy refuses plain HTTP, names its own queue and allows nothing."
  }
}

run "lambda_failures_go_to_a_standard_queue" {
  command = apply

  assert {
    condition     = aws_sqs_queue.failures.name == "setpoint-dev-lambda-failures" && aws_sqs_queue.failures.fifo_queue != true && aws_sqs_queue.failures.message_retention_seconds == 1209600
    error_message = "Lambda sends to no FIFO queue."
  }
}

run "what_others_are_made_of" {
  command = apply

  assert {
    condition     = keys(output.queues) == ["polars", "team-python"] && output.queues["polars"].name == "setpoint-dev-polars.fifo" && output.queues["polars"].dlq_name == "setpoint-dev-polars-dlq.fifo" && output.queues["polars"].dlq_url == "https://sqs/polars-dlq"
    error_message = "The queues are given out by key."
  }
}

run "no_pool_at_all" {
  command = plan

  variables {
    queues = {}
  }

  assert {
    condition     = length(aws_sqs_queue.pool) == 0 && length(aws_sqs_queue.dead_letter) == 0
    error_message = "A system of Lambda pools alone has no pool queue."
  }
}

run "refuses_a_queue_that_is_no_fifo" {
  command = plan
  variables {
    queues = { polars = "setpoint-dev-polars" }
  }
  expect_failures = [var.queues]
}

run "refuses_two_pools_on_one_queue" {
  command = plan
  variables {
    queues = { a = "shared.fifo", b = "shared.fifo" }
  }
  expect_failures = [var.queues]
}

run "refuses_a_fifo_queue_for_failures" {
  command = plan
  variables {
    failures_queue_name = "setpoint-dev-lambda-failures.fifo"
  }
  expect_failures = [var.failures_queue_name]
}
