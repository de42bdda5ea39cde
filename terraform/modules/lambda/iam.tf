# A role a function: sources reach the dispatcher and their secrets, the operator its pool token, bundles and logs.

locals {
  secret_arn   = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret"
  function_arn = "arn:${local.partition}:lambda:${local.region}:${local.account}:function"
  bucket       = var.data_bucket.arn
  via_s3       = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
  via_secrets  = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }

  secrets = {
    cron = [var.secrets.arns[local.events_token]]
    webhook = concat(
      [var.secrets.arns[local.events_token]],
      [for prefix in sort(var.webhook_prefixes) : var.secrets.arns["${var.name}/webhooks/${prefix}"]],
    )
    ecs-state = [var.secrets.arns[local.events_token]]
    operator = concat(
      [var.secrets.arns[local.pool_token]],
      # Secrets Manager puts a hyphen and six characters behind a name.
      [for secret in var.operator.secret_names : "${local.secret_arn}:${secret}-??????"],
    )
  }

  own_statements = {
    cron      = []
    webhook   = []
    ecs-state = []
    operator = [
      { Sid = "Read", Action = ["s3:GetObject"], Resource = ["${local.bucket}/bundles/*"] },
      { Sid = "Write", Action = ["s3:AbortMultipartUpload", "s3:PutObject"], Resource = ["${local.bucket}/logs/*"] },
      {
        Sid       = "DataKey"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.data_bucket.kms_key_arn]
        Condition = local.via_s3
      },
      {
        Sid      = "GrantedObjects"
        Action   = ["s3:GetObject"]
        Resource = [for name in var.operator.buckets : "arn:${local.partition}:s3:::${name}/*"]
      },
      {
        Sid      = "GrantedBuckets"
        Action   = ["s3:ListBucket"]
        Resource = [for name in var.operator.buckets : "arn:${local.partition}:s3:::${name}"]
      },
      { Sid = "Failures", Action = ["sqs:SendMessage"], Resource = [var.failures_queue_arn] },
    ]
  }

  statements = {
    for function, own in local.own_statements : function => concat(
      [
        { Sid = "Secrets", Action = ["secretsmanager:GetSecretValue"], Resource = local.secrets[function] },
        {
          Sid       = "SecretsKey"
          Action    = ["kms:Decrypt"]
          Resource  = [var.secrets.kms_key_arn]
          Condition = local.via_secrets
        },
        {
          Sid      = "Log"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${aws_cloudwatch_log_group.function[function].arn}:*"]
        },
        # X-Ray's writes know no resource.
        { Sid = "Trace", Action = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], Resource = ["*"] },
        {
          # Lambda needs the role's leave to attach the function to the VPC; the function's own code has no use for it.
          # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-best-practice
          Sid    = "NoInterfaces"
          Effect = "Deny"
          Action = [
            "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DetachNetworkInterface", "ec2:UnassignPrivateIpAddresses",
          ]
          Resource = ["*"]
          Condition = {
            ArnEquals = {
              "lambda:SourceFunctionArn" = "${local.function_arn}:${var.name}-${function}"
            }
          }
        },
      ],
      own,
    )
  }
}

resource "aws_iam_role" "this" {
  for_each = local.functions

  name        = "${var.name}-lambda-${each.key}"
  description = "What ${var.name}-${each.key} may do"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.functions

  name = "reach"
  role = aws_iam_role.this[each.key].name

  # A statement without a resource is one about something that there is none of.
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [for s in local.statements[each.key] : merge({ Effect = "Allow" }, s) if length(s.Resource) > 0]
  })
}

resource "aws_iam_role_policy_attachment" "vpc" {
  for_each = local.functions

  role       = aws_iam_role.this[each.key].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSLambdaENIManagementAccess"
}
