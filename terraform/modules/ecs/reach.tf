# What the code of each family may reach. The table of it is in README.md; nothing else gives a task a permission.

locals {
  bucket       = var.data_bucket.arn
  task_arns    = "arn:${local.partition}:ecs:${local.region}:${local.account}:task/${var.name}/*"
  secret_arn   = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret"
  connect_arn  = "arn:${local.partition}:rds-db:${local.region}:${local.account}:dbuser:${var.database.resource_id}"
  function_arn = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}-*"

  # Keys serve the one service that they encrypt for, never a caller directly.
  via_s3      = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
  via_secrets = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }

  data_key = {
    Sid       = "DataKey"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [var.data_bucket.kms_key_arn]
    Condition = local.via_s3
  }
  read_secrets = {
    Sid       = "SecretsKey"
    Action    = ["kms:Decrypt"]
    Resource  = [var.secrets.kms_key_arn]
    Condition = local.via_secrets
  }
  write_secrets = {
    Sid       = "SecretsKey"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [var.secrets.kms_key_arn]
    Condition = local.via_secrets
  }

  reach_data    = ["polars", "python"]
  reach_secrets = ["polars", "ingest"]

  # All of cold data by runtime, else the datasets that the pool is granted.
  cold = {
    for key, pool in var.pools : key => contains(local.reach_data, pool.runtime) ? ["${local.bucket}/cold/*"] : [
      for dataset in pool.grants.cold_datasets : "${local.bucket}/cold/${pool.namespace}/${dataset}/*"
    ]
  }

  worker_statements = {
    for key, pool in var.pools : key => [
      {
        Sid      = "Queue"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
        Resource = [var.queues[key].arn]
      },
      {
        Sid    = "Secrets"
        Action = ["secretsmanager:GetSecretValue"]
        Resource = concat(
          [var.secrets.arns["${var.name}/pools/${pool.name}"]],
          contains(local.reach_secrets, pool.runtime) ? ["${local.secret_arn}:${var.name}/tasks/*"] : [],
          # Secrets Manager puts a hyphen and six characters behind a name.
          [for secret in pool.grants.secrets : "${local.secret_arn}:${secret}-??????"],
        )
      },
      local.read_secrets,
      {
        Sid      = "Protection"
        Action   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
        Resource = [local.task_arns]
      },
      {
        Sid      = "Read"
        Action   = ["s3:GetObject"]
        Resource = concat(["${local.bucket}/bundles/*", "${local.bucket}/artifacts/*"], local.cold[key])
      },
      {
        Sid      = "Write"
        Action   = ["s3:AbortMultipartUpload", "s3:PutObject"]
        Resource = concat(["${local.bucket}/logs/*", "${local.bucket}/artifacts/*"], local.cold[key])
      },
      local.data_key,
      {
        Sid      = "GrantedObjects"
        Action   = ["s3:GetObject"]
        Resource = [for name in pool.grants.buckets : "arn:${local.partition}:s3:::${name}/*"]
      },
      {
        Sid      = "GrantedBuckets"
        Action   = ["s3:ListBucket"]
        Resource = [for name in pool.grants.buckets : "arn:${local.partition}:s3:::${name}"]
      },
      { Sid = "Database", Action = ["rds-db:connect"], Resource = ["${local.connect_arn}/setpoint_worker_login"] },
    ]
  }

  dispatcher_statements = [
    { Sid = "Database", Action = ["rds-db:connect"], Resource = ["${local.connect_arn}/setpoint_dispatcher"] },
    {
      Sid      = "Send"
      Action   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"]
      Resource = sort([for q in values(var.queues) : q.arn])
    },
    {
      Sid      = "Return"
      Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
      Resource = concat(sort([for q in values(var.queues) : q.dlq_arn]), var.failures_queue == null ? [] : [var.failures_queue.arn])
    },
    {
      Sid    = "Secrets"
      Action = ["secretsmanager:GetSecretValue"]
      # All pools' tokens by their prefix: one by one they would outgrow a role's policy (10 KB).
      Resource = concat(
        [for name in [local.signing_key, local.admin_token, local.events_token] : var.secrets.arns[name]],
        ["${local.secret_arn}:${var.name}/pools/*", "${local.secret_arn}:${var.name}/notifiers/*"],
      )
    },
    local.read_secrets,
    { Sid = "Notify", Action = ["sns:Publish"], Resource = sort(var.notifier_topic_arns) },
    {
      Sid      = "Read"
      Action   = ["s3:GetObject"]
      Resource = [for prefix in ["artifacts", "bundles", "deployments", "logs"] : "${local.bucket}/${prefix}/*"]
    },
    { Sid = "Write", Action = ["s3:AbortMultipartUpload", "s3:PutObject"], Resource = ["${local.bucket}/bundles/*"] },
    # Without it S3 answers 403 to a question for a bundle that is not there yet, instead of 404.
    { Sid = "List", Action = ["s3:ListBucket"], Resource = [local.bucket] },
    local.data_key,
    {
      Sid      = "Observe"
      Action   = ["ecs:DescribeServices", "ecs:DescribeTasks", "ecs:StopTask"]
      Resource = ["arn:${local.partition}:ecs:${local.region}:${local.account}:service/${var.name}/*", local.task_arns]
    },
    {
      Sid    = "ListTasks"
      Action = ["ecs:ListTasks"]
      # ListTasks knows no resource on Fargate; the condition names the cluster instead.
      Resource  = ["*"]
      Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
    },
    {
      Sid      = "Invoke"
      Action   = ["lambda:InvokeFunction"]
      Resource = concat([local.function_arn], var.lambda_functions)
    },
  ]

  migrate_statements = [
    { Sid = "Database", Action = ["rds-db:connect"], Resource = ["${local.connect_arn}/setpoint_migrator"] },
    { Sid = "Master", Action = ["secretsmanager:GetSecretValue"], Resource = [var.database.master_secret_arn] },
    {
      Sid       = "MasterKey"
      Action    = ["kms:Decrypt"]
      Resource  = compact([var.database.master_secret_kms_key_arn])
      Condition = local.via_secrets
    },
    {
      Sid      = "Draw"
      Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"]
      Resource = values(var.secrets.arns)
    },
    local.write_secrets,
  ]
}
