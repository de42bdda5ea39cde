# What one module tells another, in the words of the one that listens.

locals {
  environment = "prod"

  network = var.vpc != null ? var.vpc : {
    id                 = module.vpc[0].vpc_id
    cidr               = module.vpc[0].vpc_cidr
    public_subnet_ids  = module.vpc[0].public_subnet_ids
    private_subnet_ids = module.vpc[0].private_subnet_ids
  }

  database = var.database != null ? var.database : {
    host                      = module.rds[0].endpoint
    port                      = module.rds[0].port
    name                      = module.rds[0].database_name
    resource_id               = module.rds[0].resource_id
    master_secret_arn         = module.rds[0].master_secret_arn
    master_secret_kms_key_arn = module.rds[0].kms_key_arn
    cidr                      = null
  }

  api = { url = module.alb.internal_url, ca_pem = var.domain == null ? var.api_ca_pem : "" }

  data_bucket = { name = module.s3.bucket, arn = module.s3.arn, kms_key_arn = module.s3.kms_key_arn }

  # A slot's child process holds one connection. A dispatcher holds its pool and up to four besides (lease, notifications,
  # migrations' check, the canary's), and a rolling deployment runs them twice.
  connections_wanted = (
    sum(concat([0], [for pool in values(module.manifests.pools) : pool.max_tasks * pool.slots])) +
    2 * var.dispatcher_tasks * (var.dispatcher.connections + 4)
  )

  # The operator serves the pool of runtime lambda that names no function; its secret exists in any case.
  lambda_pools = values(module.manifests.lambda_pools)
  served       = [for pool in local.lambda_pools : pool if pool.function == null]

  account       = data.aws_caller_identity.this.account_id
  function_arn  = "arn:${data.aws_partition.this.partition}:lambda:${var.region}:${local.account}:function"
  own_functions = [for pool in local.lambda_pools : "${local.function_arn}:${pool.function}" if pool.function != null]

  operator = {
    pool         = try(local.served[0].name, "lambda")
    namespace    = try(local.served[0].namespace, "default")
    memory       = try(local.served[0].memory, 2048)
    concurrency  = var.reserve_operator_concurrency ? try(local.served[0].limit, null) : null
    secret_names = try(local.served[0].grants.secrets, [])
    buckets      = try(local.served[0].grants.buckets, [])
  }

  pool_names = concat(
    [local.operator.pool],
    [for pool in values(module.manifests.pools) : pool.name],
    [for pool in local.lambda_pools : pool.name],
  )

  secret_names = toset(concat(
    [for secret in ["admin-token", "events-token", "signing-key"] : "${var.name}/${secret}"],
    [for pool in distinct(local.pool_names) : "${var.name}/pools/${pool}"],
    [for prefix in module.manifests.webhook_prefixes : "${var.name}/webhooks/${prefix}"],
  ))

  watched_pools = merge(
    { for key, queue in module.sqs.queues : key => { pool = key, queue = queue.name, dlq = queue.dlq_name } },
    { for key in keys(module.manifests.lambda_pools) : key => { pool = key, queue = null, dlq = null } },
  )

  # A database of one's own is watched by its owner.
  watched_database = var.database != null ? null : {
    identifier      = module.rds[0].instance_identifier
    max_connections = module.rds[0].max_connections
  }
}
