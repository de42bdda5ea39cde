data "aws_region" "this" {}

data "aws_partition" "this" {}

data "aws_caller_identity" "this" {}

locals {
  # The promises that the controller's deadlines are built on, so no variables: a message that a worker took and did not
  # delete comes back after five minutes, the third time it goes to the dead-letter queue, and it waits there at most 14 days.
  visibility_seconds = 300
  max_receives       = 3
  retention_seconds  = 14 * 24 * 3600

  dead_letter_names = { for key, name in var.queues : key => "${trimsuffix(name, ".fifo")}-dlq.fifo" }

  # ARNs are put together, not read from the resources, because a queue and its dead-letter queue name each other.
  arn_prefix = "arn:${data.aws_partition.this.partition}:sqs:${data.aws_region.this.name}:${data.aws_caller_identity.this.account_id}"

  names = concat(values(var.queues), values(local.dead_letter_names), [var.failures_queue_name])

  # It opens nothing: who may send and receive is in the roles. It refuses plain HTTP to everybody.
  policies = {
    for name in local.names : name => {
      Version = "2012-10-17"
      Statement = [{
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sqs:*"
        Resource  = "${local.arn_prefix}:${name}"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    }
  }
}

resource "aws_sqs_queue" "pool" {
  for_each = var.queues

  name       = each.value
  fifo_queue = true

  # High throughput: a message's group is its attempt, so groups never wait for each other.
  # The sender names the deduplication id (attempt and delivery); a digest of the body would drop the second delivery.
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  content_based_deduplication = false

  visibility_timeout_seconds = local.visibility_seconds
  message_retention_seconds  = local.retention_seconds
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true

  policy = jsonencode(local.policies[each.value])
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter[each.key].arn
    maxReceiveCount     = local.max_receives
  })

  tags = merge(var.tags, { Name = each.value })
}

resource "aws_sqs_queue" "dead_letter" {
  for_each = local.dead_letter_names

  name       = each.value
  fifo_queue = true

  # A moved message keeps its group and its deduplication id. With the same scope as the queue it came from, no two messages
  # that were distinct there can be taken for one here.
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  content_based_deduplication = false

  visibility_timeout_seconds = local.visibility_seconds
  message_retention_seconds  = local.retention_seconds
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true

  policy = jsonencode(local.policies[each.value])
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = ["${local.arn_prefix}:${var.queues[each.key]}"]
  })

  tags = merge(var.tags, { Name = each.value })
}

# Where Lambda sends an invocation of the operator that it gave up. A standard queue, since Lambda sends to no other, and without a
# dead-letter queue, since the dispatcher takes every record out: one that it cannot read it counts and deletes.
resource "aws_sqs_queue" "failures" {
  name = var.failures_queue_name

  visibility_timeout_seconds = local.visibility_seconds
  message_retention_seconds  = local.retention_seconds
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true

  policy = jsonencode(local.policies[var.failures_queue_name])

  tags = merge(var.tags, { Name = var.failures_queue_name })
}
