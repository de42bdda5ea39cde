variable "name" {
  description = "What everything is called after; two environments of one account need two names."
  type        = string
  default     = "setpoint-prod"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,21}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 23 lower-case letters, digits and '-', beginning with a letter."
  }
}

variable "region" {
  description = "The AWS region."
  type        = string
  default     = "us-east-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region, such as eu-central-1."
  }
}

variable "tags" {
  description = "Tags of everything, besides setpoint:name and setpoint:environment."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags must be at most 40, and no key may begin with aws:."
  }
}

variable "dags_dir" {
  description = "The folder of DAGs and worker pools."
  type        = string
  default     = "../../../dags"
  nullable    = false

  validation {
    condition     = length(fileset(var.dags_dir, "**/*.yaml")) > 0
    error_message = "dags_dir holds no *.yaml. Without worker pools there is nothing to provision, and what there is would be destroyed."
  }
}

variable "lambda_zips" {
  description = "The folder of sources.zip and operator.zip, made by `python -m workers.aws.package --out build/lambda`."
  type        = string
  default     = "../../../build/lambda"
  nullable    = false

  validation {
    condition     = length(trimspace(var.lambda_zips)) > 0
    error_message = "lambda_zips must be a folder."
  }
}

variable "certificate_arn" {
  description = "The ACM certificate of both load balancers. It covers dispatcher.<internal_zone>, and the public name if there is one; null with `domain`."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null ? true : can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate."
  }

  validation {
    condition     = var.certificate_arn != null || var.domain != null
    error_message = "Tokens never pass by plain HTTP: give certificate_arn (with api_ca_pem, if systems do not trust its authority), or domain with its zone."
  }
}

variable "api_ca_pem" {
  description = "PEM text of the authority behind certificate_arn, if it is none that systems trust."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.api_ca_pem == "" || startswith(trimspace(var.api_ca_pem), "-----BEGIN CERTIFICATE-----")
    error_message = "api_ca_pem must be PEM text, beginning with -----BEGIN CERTIFICATE-----."
  }

  validation {
    # Lambda's environment has room for 4 KiB in all.
    condition     = length(var.api_ca_pem) <= 3000
    error_message = "api_ca_pem must be at most 3000 characters: give the one root certificate."
  }
}

variable "domain" {
  description = "The public name and the id of the Route 53 zone in which it lies, instead of a certificate: one is issued."
  type = object({
    name    = string
    zone_id = string
  })
  default = null

  validation {
    condition     = var.domain == null ? true : can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain.name)) && startswith(var.domain.zone_id, "Z")
    error_message = "domain must name a host, such as setpoint.example.com, and a hosted zone's id, such as Z0123456789."
  }
}

variable "internal_zone" {
  description = "The private zone in which `dispatcher` is the internal load balancer; null: <name>.internal, or internal.<domain>."
  type        = string
  default     = null

  validation {
    condition     = var.internal_zone == null ? true : can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.internal_zone))
    error_message = "internal_zone must be a DNS name, such as setpoint.example.internal."
  }
}

variable "public_cidrs" {
  description = "Address ranges that may call the public load balancer."
  type        = set(string)
  default     = ["0.0.0.0/0"]
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.public_cidrs : can(cidrhost(cidr, 0))])
    error_message = "public_cidrs must be IPv4 CIDR blocks, such as 203.0.113.0/24."
  }
}

variable "vpc" {
  description = "A VPC of one's own, with NAT or endpoints for what the private subnets reach; null: one is made."
  type = object({
    id                 = string
    cidr               = string
    public_subnet_ids  = list(string)
    private_subnet_ids = list(string)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : can(cidrhost(var.vpc.cidr, 0)) && length(var.vpc.public_subnet_ids) >= 2 && length(var.vpc.private_subnet_ids) >= 2
    error_message = "vpc needs its CIDR block, and two subnets of each kind, in different zones."
  }
}

variable "vpc_cidr" {
  description = "Address range of the VPC that is made."
  type        = string
  default     = "10.41.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0))
    error_message = "vpc_cidr must be an IPv4 CIDR block, such as 10.40.0.0/16."
  }
}

variable "database" {
  description = "A Postgres 15 of one's own on RDS with IAM authentication, that admits the security groups of output `deployment`; null: one is made."
  type = object({
    host                      = string
    port                      = optional(number, 5432)
    name                      = optional(string, "setpoint")
    resource_id               = string
    master_secret_arn         = string
    master_secret_kms_key_arn = optional(string)
    cidr                      = optional(string)
  })
  default = null

  validation {
    condition     = var.database == null ? true : can(regex("^(db|cluster)-[A-Z0-9]+$", var.database.resource_id))
    error_message = "database.resource_id must be the instance's or the cluster's resource id (db-… or cluster-…): IAM logins are named by it."
  }
}

variable "instance_class" {
  description = "The class of the database that is made."
  type        = string
  default     = "db.m7g.large"
  nullable    = false

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class must be an RDS instance class, such as db.t4g.small."
  }
}

variable "dispatcher" {
  description = "Size of a dispatcher task (CPU units, MiB), and the database connections of its pool."
  type = object({
    cpu         = optional(number, 512)
    memory      = optional(number, 1024)
    connections = optional(number, 12)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.dispatcher.connections >= 8 && var.dispatcher.connections <= 100
    error_message = "dispatcher.connections must be 8 to 100."
  }
}

variable "dispatcher_tasks" {
  description = "How many dispatchers run: one leads, the others serve the API and stand by. A deployment sets it."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.dispatcher_tasks >= 2 && var.dispatcher_tasks <= 10 && floor(var.dispatcher_tasks) == var.dispatcher_tasks
    error_message = "dispatcher_tasks must be 2 to 10: the second takes over within seconds."
  }
}

variable "worker_egress_ports" {
  description = "TCP ports that workers reach anywhere: AWS by 443, what ingest reads by the others."
  type        = set(number)
  default     = [80, 443]
  nullable    = false

  validation {
    condition     = contains(var.worker_egress_ports, 443)
    error_message = "Workers reach AWS and the dispatcher by port 443."
  }
}

variable "worker_storage_gib" {
  description = "Ephemeral storage of a worker task (GiB); null: the 20 that cost nothing."
  type        = number
  default     = null

  validation {
    condition     = var.worker_storage_gib == null ? true : var.worker_storage_gib >= 21 && var.worker_storage_gib <= 200
    error_message = "worker_storage_gib must be null or 21 to 200."
  }
}

variable "container_insights" {
  description = "Container Insights of the cluster: disabled, enabled or enhanced."
  type        = string
  default     = "enabled"
  nullable    = false

  validation {
    condition     = contains(["disabled", "enabled", "enhanced"], var.container_insights)
    error_message = "container_insights must be disabled, enabled or enhanced."
  }
}

variable "cold_storage_class" {
  description = "Where cold data goes after a year. GLACIER_IR is readable at once; the others must be restored first."
  type        = string
  default     = "GLACIER_IR"
  nullable    = false

  validation {
    condition     = contains(["GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"], var.cold_storage_class)
    error_message = "cold_storage_class must be GLACIER_IR, GLACIER or DEEP_ARCHIVE."
  }
}

variable "log_retention_days" {
  description = "For how many days CloudWatch keeps logs."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, ..."
  }
}

variable "log_level" {
  description = "The log level of dispatcher and workers."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["debug", "info", "warning", "error"], var.log_level)
    error_message = "log_level must be debug, info, warning or error."
  }
}

variable "otlp_endpoint" {
  description = "Where dispatcher and workers send traces, by OTLP over HTTP; empty: nowhere. Egress is open to port 443 only."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(https?://.+)?$", var.otlp_endpoint))
    error_message = "otlp_endpoint must be a URL, as http://collector:4318, or empty."
  }
}

variable "max_schedule_rules" {
  description = "How many schedules get an EventBridge rule; the others ride the one-minute tick. All environments of an account share 300 rules."
  type        = number
  default     = 250
  nullable    = false

  validation {
    condition     = var.max_schedule_rules >= 0 && var.max_schedule_rules <= 250
    error_message = "max_schedule_rules must be 0 to 250."
  }
}

variable "reserve_operator_concurrency" {
  description = "Whether the Lambda operator's concurrency is reserved up to its pool's limit. A new account has too little to reserve."
  type        = bool
  default     = true
  nullable    = false
}

variable "source_concurrency" {
  description = "Reserved concurrency of the Lambda sources; null: none."
  type = object({
    cron      = optional(number)
    webhook   = optional(number)
    ecs_state = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for n in values(var.source_concurrency) : n == null ? true : n >= 1])
    error_message = "A reserved concurrency must be 1 or more; 0 would switch the function off."
  }
}

variable "web_acl_arn" {
  description = "A regional WAF web ACL for the public load balancer; null: none."
  type        = string
  default     = null

  validation {
    condition     = var.web_acl_arn == null ? true : can(regex("^arn:[a-z-]+:wafv2:", var.web_acl_arn))
    error_message = "web_acl_arn must be the ARN of a WAFv2 web ACL."
  }
}

variable "alarm_emails" {
  description = "Addresses that alarms are sent to, each after its owner has confirmed."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+$", address))])
    error_message = "alarm_emails must hold e-mail addresses."
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
