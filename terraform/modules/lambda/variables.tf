variable "name" {
  description = "What everything is called after: setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and '-', beginning with a letter."
  }
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "lambda_zips" {
  description = "The folder of sources.zip and operator.zip."
  type        = string
  nullable    = false

  validation {
    condition     = alltrue([for zip in ["sources.zip", "operator.zip"] : fileexists("${var.lambda_zips}/${zip}")])
    error_message = "lambda_zips holds no sources.zip or no operator.zip; make them by `python -m workers.aws.package --out build/lambda`."
  }
}

variable "network" {
  description = "The VPC and the private subnets that functions run in."
  type = object({
    vpc_id             = string
    private_subnet_ids = list(string)
  })
  nullable = false

  validation {
    condition     = length(var.network.private_subnet_ids) >= 1
    error_message = "network needs at least one private subnet."
  }
}

variable "api" {
  description = "The dispatcher's internal URL, and the PEM text of the authority behind its certificate (empty: a public one)."
  type = object({
    url    = string
    ca_pem = optional(string, "")
  })
  nullable = false

  validation {
    condition     = startswith(var.api.url, "https://")
    error_message = "Tokens pass to the dispatcher, so its URL must begin with https://."
  }
}

variable "secrets" {
  description = "The ARNs of the environment's secrets by name, and the key that encrypts them."
  type = object({
    arns        = map(string)
    kms_key_arn = string
  })
  nullable = false
}

variable "data_bucket" {
  description = "The bucket of bundles and logs, which the operator reads and writes."
  type = object({
    name        = string
    arn         = string
    kms_key_arn = string
  })
  nullable = false
}

variable "failures_queue_arn" {
  description = "The standard queue that Lambda puts operator invocations into that failed or grew too old."
  type        = string
  nullable    = false
}

variable "webhook_prefixes" {
  description = "The first segments of webhook paths: each gets its routes, and its secret <name>/webhooks/<prefix> exists."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for prefix in var.webhook_prefixes : can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", prefix))])
    error_message = "A webhook prefix must be 1 to 64 letters, digits, '-' and '_': it stands in a path, a secret's name and a policy."
  }
}

variable "operator" {
  description = "The pool that the operator serves, its memory in MiB, /tmp in MiB, its reserved concurrency (null: none), and what it is granted beyond its default."
  type = object({
    pool         = optional(string, "lambda")
    namespace    = optional(string, "default")
    memory       = optional(number, 2048)
    storage      = optional(number, 1024)
    concurrency  = optional(number)
    secret_names = optional(list(string), [])
    buckets      = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.operator.memory >= 128 && var.operator.memory <= 10240
    error_message = "A Lambda function has 128 to 10240 MiB of memory; change `memory` of the lambda pool."
  }

  # What the YAML says becomes part of a policy, so nothing in it may be a wildcard, or a secret or a bucket of the platform.
  validation {
    condition = alltrue([
      for secret in var.operator.secret_names :
      can(regex("^[A-Za-z0-9_/+=.@-]+$", secret)) && (!startswith(secret, "${var.name}/") || startswith(secret, "${var.name}/tasks/"))
    ])
    error_message = "grants.secrets must be names of secrets without wildcards; the platform's own (<name>/…, but for <name>/tasks/…) cannot be granted."
  }

  validation {
    condition     = alltrue([for bucket in var.operator.buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket)) && !startswith(bucket, "${var.name}-")])
    error_message = "grants.buckets must be names of buckets, and none of the platform's own (<name>-…)."
  }

  validation {
    condition     = var.operator.storage >= 512 && var.operator.storage <= 10240
    error_message = "A Lambda function has 512 to 10240 MiB of /tmp."
  }
}

variable "source_concurrency" {
  description = "Reserved concurrency of the sources; null: none (a new account has too little to reserve any)."
  type = object({
    cron      = optional(number)
    webhook   = optional(number)
    ecs_state = optional(number)
  })
  default  = {}
  nullable = false
}

variable "claim_seconds" {
  description = "After how long an operator invocation that did not start is given up: the claim deadline."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.claim_seconds >= 60 && var.claim_seconds <= 21600
    error_message = "claim_seconds must be 60 to 21600, Lambda's bounds of an event's age."
  }
}

variable "throttle" {
  description = "Requests a second that the webhook API lets through, and how many at once."
  type = object({
    rate  = optional(number, 50)
    burst = optional(number, 100)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.throttle.rate >= 1 && var.throttle.burst >= 1
    error_message = "throttle.rate and throttle.burst must be 1 or more."
  }
}

variable "log_retention_days" {
  description = "For how many days CloudWatch keeps the functions' and the API's logs."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, ..."
  }
}
