data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.name

  events_token = "${var.name}/events-token"
  pool_token   = "${var.name}/pools/${var.operator.pool}"

  # An authority that is not given is absent: the system's are used.
  api = { for name, value in { SETPOINT_URL = var.api.url, SETPOINT_API_CA = var.api.ca_pem } : name => value if value != "" }

  source_environment = merge(local.api, { SETPOINT_EVENTS_TOKEN_SECRET = local.events_token })

  functions = {
    cron = {
      description = "EventBridge's ticks to the dispatcher"
      handler     = "workers.aws.cron.handler"
      zip         = "sources.zip"
      timeout     = 30
      memory      = 256
      storage     = 512
      concurrency = var.source_concurrency.cron
      environment = local.source_environment
    }
    webhook = {
      description = "Signed webhooks to the dispatcher"
      handler     = "workers.aws.webhook.handler"
      zip         = "sources.zip"
      # API Gateway waits 30 s for an answer.
      timeout     = 29
      memory      = 256
      storage     = 512
      concurrency = var.source_concurrency.webhook
      environment = merge(local.source_environment, { SETPOINT_WEBHOOK_SECRET_PREFIX = "${var.name}/webhooks/" })
    }
    ecs-state = {
      description = "Stopped ECS tasks to the dispatcher"
      handler     = "workers.aws.ecs_state.handler"
      zip         = "sources.zip"
      timeout     = 30
      memory      = 256
      storage     = 512
      concurrency = var.source_concurrency.ecs_state
      environment = local.source_environment
    }
    operator = {
      description = "Tasks of runtime lambda"
      handler     = "workers.aws.operator.handler"
      zip         = "operator.zip"
      # Lambda's most; a task's own timeout is at most 14 minutes.
      timeout     = 900
      memory      = var.operator.memory
      storage     = var.operator.storage
      concurrency = var.operator.concurrency
      environment = merge(local.api, {
        SETPOINT_NAMESPACE         = var.operator.namespace
        SETPOINT_POOL              = var.operator.pool
        SETPOINT_POOL_TOKEN_SECRET = local.pool_token
        SETPOINT_OBJECT_STORE      = "s3://${var.data_bucket.name}"
      })
    }
  }
}

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs at rest with a key of its own, and no secret is logged
  #checkov:skip=CKV_AWS_338:How long logs are kept is the owner's variable
  for_each = local.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

# Lambda takes at most 50 MB with the request itself, and Polars alone is more.
resource "aws_s3_object" "operator" {
  #checkov:skip=CKV_AWS_186:The bucket encrypts it with its own KMS key
  bucket      = var.data_bucket.name
  key         = "deployments/lambda/operator-${substr(filesha256("${var.lambda_zips}/operator.zip"), 0, 16)}.zip"
  source      = "${var.lambda_zips}/operator.zip"
  source_hash = filesha256("${var.lambda_zips}/operator.zip")
  tags        = var.tags
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_115:Reserving concurrency is a variable: an account at its first quota of 10 cannot reserve any
  #checkov:skip=CKV_AWS_116:The operator's failures have a destination; a source's event is a hint, repeated by the next tick or resync
  #checkov:skip=CKV_AWS_173:The environment holds names of secrets, no secret; Lambda encrypts it with a key of its own
  #checkov:skip=CKV_AWS_272:The zips are made from this repository by whoever applies it; their digests stand in the plan
  for_each = local.functions

  function_name                  = "${var.name}-${each.key}"
  description                    = each.value.description
  role                           = aws_iam_role.this[each.key].arn
  runtime                        = "python3.13"
  architectures                  = ["x86_64"]
  handler                        = each.value.handler
  filename                       = each.key == "operator" ? null : "${var.lambda_zips}/${each.value.zip}"
  s3_bucket                      = each.key == "operator" ? aws_s3_object.operator.bucket : null
  s3_key                         = each.key == "operator" ? aws_s3_object.operator.key : null
  source_code_hash               = filebase64sha256("${var.lambda_zips}/${each.value.zip}")
  timeout                        = each.value.timeout
  memory_size                    = each.value.memory
  reserved_concurrent_executions = each.value.concurrency
  tags                           = var.tags

  environment {
    variables = each.value.environment
  }

  ephemeral_storage {
    size = each.value.storage
  }

  tracing_config {
    mode = "Active"
  }

  vpc_config {
    subnet_ids         = var.network.private_subnet_ids
    security_group_ids = [aws_security_group.this.id]
  }

  # Lambda checks its reach into the VPC when the function is made, and would make a log group of its own.
  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy_attachment.vpc, aws_iam_role_policy.this]
}

# A failed invocation is not repeated by Lambda: the dispatcher decides, by the record in the failures queue.
resource "aws_lambda_function_event_invoke_config" "operator" {
  function_name                = aws_lambda_function.this["operator"].function_name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = var.claim_seconds

  destination_config {
    on_failure {
      destination = var.failures_queue_arn
    }
  }
}

# An event of some minutes ago tells the dispatcher nothing that it has not found by itself.
resource "aws_lambda_function_event_invoke_config" "source" {
  for_each = toset(["cron", "ecs-state"])

  function_name                = aws_lambda_function.this[each.key].function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 300
}

resource "aws_security_group" "this" {
  name                   = "${var.name}-lambda"
  description            = "Setpoint functions: nothing reaches them"
  vpc_id                 = var.network.vpc_id
  revoke_rules_on_delete = true
  tags                   = merge(var.tags, { Name = "${var.name}-lambda" })
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "The dispatcher, and AWS by endpoints or NAT"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}
