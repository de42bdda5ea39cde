# What each family runs: the dispatcher, a pool's workers, the one-off migration. A map, so that all are made alike.

locals {
  user = "10001:10001"
  # The first seconds of a task are spent on imports; a busy machine must not be taken for a broken task.
  start_seconds = 60

  aws_environment = {
    AWS_REGION         = local.region
    AWS_DEFAULT_REGION = local.region
  }

  workloads = merge(
    {
      dispatcher = {
        container   = "dispatcher"
        kind        = "dispatcher"
        repository  = "dispatcher"
        image       = "${var.repositories["dispatcher"].url}:template"
        log_group   = "/${var.name}/dispatcher"
        cpu         = var.dispatcher.cpu
        memory      = var.dispatcher.memory
        storage     = null
        port        = 8080
        command     = ["python", "-m", "controller.main"]
        probe       = ["CMD", "python", "-m", "controller.probe"]
        environment = merge(local.aws_environment, local.dispatcher_environment)
      }
      migrate = {
        container   = "migrate"
        kind        = "migrate"
        repository  = "dispatcher"
        image       = "${var.repositories["dispatcher"].url}:template"
        log_group   = "/${var.name}/migrate"
        cpu         = 256
        memory      = 512
        storage     = null
        port        = null
        command     = ["python", "-m", "controller.deploy.migrate_task"]
        probe       = null
        environment = merge(local.aws_environment, local.migrate_environment)
      }
    },
    {
      for key, pool in var.pools : key => {
        container   = "worker"
        kind        = "worker"
        repository  = "worker-${pool.runtime}"
        image       = pool.image == null ? "${var.repositories["worker-${pool.runtime}"].url}:template" : pool.image
        log_group   = "/${var.name}/workers/${key}"
        cpu         = pool.cpu
        memory      = pool.memory
        storage     = var.worker_storage_gib
        port        = 9090
        command     = ["python", "-m", "workers"]
        probe       = ["CMD", "python", "-m", "workers.probe"]
        environment = merge(local.aws_environment, local.worker_environment[key])
      }
    },
  )

  # Without a collector the variable is absent.
  traces_environment = { for name, url in { OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint } : name => url if url != "" }

  dispatcher_environment = merge(local.traces_environment, {
    SETPOINT_DSN                   = "${local.dsn} user=setpoint_dispatcher"
    SETPOINT_DATABASE_AUTH         = "iam"
    SETPOINT_OBJECT_STORE          = "s3://${var.data_bucket.name}"
    SETPOINT_CLUSTER               = var.name
    SETPOINT_NAME_PREFIX           = var.name
    SETPOINT_HOST                  = "0.0.0.0"
    SETPOINT_PORT                  = "8080"
    SETPOINT_CONNECTIONS           = tostring(var.dispatcher.connections)
    SETPOINT_SIGNING_KEY_SECRET    = local.signing_key
    SETPOINT_ADMIN_TOKEN_SECRET    = local.admin_token
    SETPOINT_POOL_TOKEN_PREFIX     = "${var.name}/pools/"
    SETPOINT_EVENTS_TOKEN_SECRET   = local.events_token
    SETPOINT_LAMBDA_FAILURES_QUEUE = var.failures_queue == null ? "" : var.failures_queue.name
    SETPOINT_METRICS_ENV           = var.environment
    SETPOINT_LOG_LEVEL             = var.log_level
    SETPOINT_PUBLIC_URL            = var.public_url
    # Only the load balancers' security groups reach a dispatcher, and both load balancers lie in the VPC.
    SETPOINT_TRUSTED_PROXIES  = var.network.vpc_cidr
    SETPOINT_OIDC_ISSUER      = var.oidc.issuer
    SETPOINT_OIDC_AUDIENCE    = var.oidc.audience
    SETPOINT_OIDC_ROLE_CLAIM  = var.oidc.role_claim
    SETPOINT_OIDC_ROLES       = jsonencode(var.oidc.roles)
    SETPOINT_OIDC_SCOPE_CLAIM = var.oidc.scope_claim
    SETPOINT_OIDC_NAME_CLAIM  = var.oidc.name_claim
  })

  migrate_environment = {
    SETPOINT_DSN                = "${local.dsn} user=setpoint_migrator"
    SETPOINT_DATABASE_AUTH      = "iam"
    SETPOINT_MASTER_SECRET      = var.database.master_secret_arn
    SETPOINT_ADMIN_TOKEN_SECRET = local.admin_token
    SETPOINT_DRAWN_SECRETS      = join(",", sort(keys(var.secrets.arns)))
  }

  worker_environment = {
    for key, pool in var.pools : key => merge(
      local.traces_environment,
      {
        SETPOINT_URL               = var.api.url
        SETPOINT_NAMESPACE         = pool.namespace
        SETPOINT_POOL              = pool.name
        SETPOINT_POOL_TOKEN_SECRET = "${var.name}/pools/${pool.name}"
        SETPOINT_QUEUE_URL         = var.queues[key].url
        SETPOINT_SLOTS             = tostring(pool.slots)
        SETPOINT_OBJECT_STORE      = "s3://${var.data_bucket.name}"
        SETPOINT_HOT_DSN           = "${local.dsn} user=setpoint_worker_login"
        SETPOINT_DATABASE_AUTH     = "iam"
        SETPOINT_METRICS_HOST      = "0.0.0.0"
        SETPOINT_METRICS_PORT      = "9090"
        SETPOINT_METRICS_ENV       = var.environment
        SETPOINT_GRACE_SECONDS     = "110"
        SETPOINT_LOG_LEVEL         = var.log_level
      },
      # An authority that is not given is absent: the system's are used.
      { for name, pem in { SETPOINT_API_CA = var.api.ca_pem } : name => pem if pem != "" },
    )
  }
}
