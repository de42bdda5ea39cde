variable "name" {
  description = "What everything is called after: setpoint-<environment>."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and '-', beginning with a letter."
  }
}

variable "environment" {
  description = "The environment's name, a dimension of the CloudWatch metrics."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "environment must be lower-case letters, digits and '-'."
  }
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}

variable "network" {
  description = "The VPC, its address range, and the private subnets that tasks run in."
  type = object({
    vpc_id             = string
    vpc_cidr           = string
    private_subnet_ids = list(string)
  })

  validation {
    condition     = can(cidrhost(var.network.vpc_cidr, 0)) && length(var.network.private_subnet_ids) >= 1
    error_message = "network needs the VPC's CIDR block and at least one private subnet."
  }
}

variable "load_balancers" {
  description = "The target groups of the dispatcher service, and the security groups that its requests come from."
  type = object({
    target_group_arns  = list(string)
    security_group_ids = map(string)
  })

  validation {
    condition     = length(var.load_balancers.target_group_arns) == 2
    error_message = "The dispatcher stands behind two target groups: the public and the internal one."
  }
}

variable "api" {
  description = "The dispatcher's internal URL, and the PEM text of the authority behind its certificate (empty: a public one)."
  type = object({
    url    = string
    ca_pem = optional(string, "")
  })

  validation {
    condition     = startswith(var.api.url, "https://")
    error_message = "Tokens pass to the dispatcher, so its URL must begin with https://."
  }
}

variable "database" {
  description = "The Postgres instance. `resource_id` is what its IAM logins are named by (db-…, or cluster-…), `cidr` the range in which it lies if that is not the VPC's."
  type = object({
    host                      = string
    port                      = number
    name                      = string
    resource_id               = string
    master_secret_arn         = string
    master_secret_kms_key_arn = optional(string)
    cidr                      = optional(string)
  })

  validation {
    condition     = var.database.port >= 1 && var.database.port <= 65535
    error_message = "database.port must be a TCP port."
  }
}

variable "data_bucket" {
  description = "The bucket of bundles, logs, artifacts, cold data and records of deployments."
  type = object({
    name        = string
    arn         = string
    kms_key_arn = string
  })
}

variable "queues" {
  description = "The queue and the dead-letter queue of each pool, by service name."
  type = map(object({
    arn     = string
    url     = string
    name    = string
    dlq_arn = string
  }))
}

variable "failures_queue" {
  description = "Where Lambda puts invocations that failed; null: there is no lambda pool."
  type = object({
    arn  = string
    name = string
  })
  default = null
}

variable "secrets" {
  description = "The ARNs of the environment's secrets by name, and the key that encrypts them."
  type = object({
    arns        = map(string)
    kms_key_arn = string
  })
}

variable "repositories" {
  description = "The image repositories by key: dispatcher, and worker-<runtime> for each runtime in use."
  type = map(object({
    url = string
    arn = string
  }))

  validation {
    condition     = contains(keys(var.repositories), "dispatcher")
    error_message = "repositories must have the key dispatcher."
  }
}

variable "pools" {
  description = "The worker pools by service name, as module manifests reads them; memory in MiB."
  type = map(object({
    name         = string
    namespace    = string
    runtime      = string
    slots        = number
    min_tasks    = number
    max_tasks    = number
    spot_percent = number
    cpu          = number
    memory       = number
    image        = optional(string)
    grants = optional(object({
      secrets       = optional(list(string), [])
      cold_datasets = optional(list(string), [])
      buckets       = optional(list(string), [])
    }), {})
  }))

  validation {
    condition     = alltrue([for p in values(var.pools) : contains(["polars", "python", "ingest"], p.runtime)])
    error_message = "The runtime of a pool must be polars, python or ingest; a lambda pool is no service."
  }

  validation {
    condition     = alltrue([for p in values(var.pools) : p.min_tasks >= 0 && p.min_tasks <= p.max_tasks && p.max_tasks >= 1])
    error_message = "A pool needs 0 ≤ minTasks ≤ maxTasks and 1 ≤ maxTasks."
  }

  validation {
    condition     = alltrue([for p in values(var.pools) : p.spot_percent >= 0 && p.spot_percent <= 100 && floor(p.spot_percent) == p.spot_percent])
    error_message = "spotPercent must be a whole number from 0 to 100."
  }

  # What the YAML says becomes part of policies, so nothing in it may be a wildcard, or a secret or a bucket of the platform.
  validation {
    condition     = alltrue([for p in values(var.pools) : can(regex("^[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*$", "${p.namespace}/${p.name}"))])
    error_message = "The name and the namespace of a pool must be lower-case words joined by '-'."
  }

  validation {
    condition = alltrue(flatten([
      for p in values(var.pools) : [
        for secret in p.grants.secrets :
        can(regex("^[A-Za-z0-9_/+=.@-]+$", secret)) && (!startswith(secret, "${var.name}/") || startswith(secret, "${var.name}/tasks/"))
      ]
    ]))
    error_message = "grants.secrets must be names of secrets without wildcards; the platform's own (<name>/…, but for <name>/tasks/…) cannot be granted."
  }

  validation {
    condition = alltrue(flatten([
      for p in values(var.pools) : [for dataset in p.grants.cold_datasets : can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", dataset))]
    ]))
    error_message = "grants.coldDatasets must be names of datasets."
  }

  validation {
    condition = alltrue(flatten([
      for p in values(var.pools) : [
        for bucket in p.grants.buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket)) && !startswith(bucket, "${var.name}-")
      ]
    ]))
    error_message = "grants.buckets must be names of buckets, and none of the platform's own (<name>-…)."
  }

  validation {
    condition     = length(setintersection(keys(var.pools), ["dispatcher", "migrate"])) == 0
    error_message = "dispatcher and migrate are names of the platform's own services; rename the pool."
  }

  validation {
    # An IAM role's name has at most 64 characters, and the longest here is <name>-<pool>-execution.
    condition     = alltrue([for key in keys(var.pools) : length("${var.name}-${key}-execution") <= 64])
    error_message = "The name of a pool (with its namespace) is too long for its IAM role: name, pool and 11 more characters must fit into 64."
  }
}

variable "lambda_functions" {
  description = "ARNs of functions besides <name>-* that lambda pools name."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.lambda_functions : can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}$", arn))])
    error_message = "lambda_functions must be ARNs of functions; `function` of a lambda pool is a name of letters, digits, '-' and '_'."
  }
}

variable "dispatcher" {
  description = "Size of a dispatcher task (CPU units, MiB), and the connections of its pool."
  type = object({
    cpu         = optional(number, 512)
    memory      = optional(number, 1024)
    connections = optional(number, 12)
  })
  default = {}

  validation {
    condition     = var.dispatcher.connections >= 8 && var.dispatcher.connections <= 100
    error_message = "dispatcher.connections must be 8 to 100."
  }
}

variable "container_insights" {
  description = "Container Insights of the cluster: disabled, enabled or enhanced (each costs CloudWatch metrics)."
  type        = string
  default     = "disabled"

  validation {
    condition     = contains(["disabled", "enabled", "enhanced"], var.container_insights)
    error_message = "container_insights must be disabled, enabled or enhanced."
  }
}

variable "log_retention_days" {
  description = "For how many days CloudWatch keeps the tasks' logs."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a span that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, …"
  }
}

variable "log_level" {
  description = "The log level of dispatcher and workers."
  type        = string
  default     = "info"

  validation {
    condition     = contains(["debug", "info", "warning", "error"], var.log_level)
    error_message = "log_level must be debug, info, warning or error."
  }
}

variable "otlp_endpoint" {
  description = "Where dispatcher and workers send traces, by OTLP over HTTP; empty: nowhere. Egress is open to port 443 only."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https?://.+)?$", var.otlp_endpoint))
    error_message = "otlp_endpoint must be a URL, as http://collector:4318, or empty."
  }
}

variable "worker_egress_ports" {
  description = "TCP ports that workers reach anywhere: AWS by 443, what ingest reads by 80 and 443."
  type        = set(number)
  default     = [80, 443]

  validation {
    condition     = contains(var.worker_egress_ports, 443)
    error_message = "Workers reach AWS and the dispatcher by port 443."
  }
}

variable "worker_storage_gib" {
  description = "Ephemeral storage of a worker task (GiB), of which Fargate gives 20 for nothing; null: those 20."
  type        = number
  default     = null

  validation {
    condition     = var.worker_storage_gib == null ? true : var.worker_storage_gib >= 21 && var.worker_storage_gib <= 200
    error_message = "worker_storage_gib must be null or 21 to 200."
  }
}

variable "notifier_topic_arns" {
  description = "ARNs of the SNS topics that notifiers may publish to."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.notifier_topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\\.fifo)?$", arn))])
    error_message = "notifier_topic_arns must be ARNs of SNS topics, without wildcards."
  }
}

variable "public_url" {
  description = "The URL for people, for links in notifications; empty: no links."
  type        = string
  default     = ""
}

variable "oidc" {
  description = "The identity provider whose tokens the dispatcher takes beside its own; an empty issuer: none. `roles` maps values of `role_claim` to viewer, operator or admin."
  type = object({
    issuer      = optional(string, "")
    audience    = optional(string, "")
    role_claim  = optional(string, "setpoint_role")
    roles       = optional(map(string), {})
    scope_claim = optional(string, "")
    name_claim  = optional(string, "")
  })
  default = {}

  validation {
    condition     = var.oidc.issuer == "" || (startswith(var.oidc.issuer, "https://") && var.oidc.audience != "")
    error_message = "oidc needs an issuer that begins with https:// and an audience."
  }
}
