variable "name" {
  description = "What everything is called after, setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter: load balancers, functions and roles are called after it, and AWS limits their names."
  }
}

variable "environment" {
  description = "Value of the dimension env of the metrics that the dispatcher publishes (its SETPOINT_METRICS_ENV)."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "environment must be lower-case letters, digits and hyphens, such as dev."
  }
}

variable "pools" {
  description = "Pools by service name: the value of the dimension pool, and the names of the queue and its dead-letter queue (null for a pool of runtime lambda, which has none)."
  type = map(object({
    pool  = string
    queue = optional(string)
    dlq   = optional(string)
  }))
  nullable = false

  validation {
    condition     = alltrue([for pool in values(var.pools) : (pool.queue == null) == (pool.dlq == null)])
    error_message = "pools must name both queue and dlq, or neither."
  }
}

variable "database" {
  description = "RDS instance to watch and its max_connections; null for a database of one's own that is watched elsewhere."
  type = object({
    identifier      = string
    max_connections = number
  })
  default = null

  validation {
    condition     = var.database == null || try(var.database.max_connections >= 1, false)
    error_message = "database.max_connections must be 1 or more."
  }
}

variable "load_balancers" {
  description = "Load balancers by name (public, internal): the ARN suffixes of the balancer and of its target group."
  type = map(object({
    load_balancer = string
    target_group  = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for balancer in values(var.load_balancers) : startswith(balancer.load_balancer, "app/") && startswith(balancer.target_group, "targetgroup/")])
    error_message = "load_balancers must hold ARN suffixes: app/… of the balancer and targetgroup/… of its target group."
  }
}

variable "lambda_functions" {
  description = "Names of the Lambda functions on the dashboard."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for function in var.lambda_functions : can(regex("^[A-Za-z0-9_-]{1,64}$", function))])
    error_message = "lambda_functions must hold names of functions, not ARNs."
  }
}

variable "failures_queue" {
  description = "Name of the queue of failed Lambda invocations on the dashboard; null leaves it out."
  type        = string
  default     = null

  validation {
    condition     = var.failures_queue == null || can(regex("^[A-Za-z0-9_-]{1,80}$", var.failures_queue))
    error_message = "failures_queue must be the name of a standard queue, or null."
  }
}

variable "alarm_emails" {
  description = "Addresses that the alarms are sent to, each after its owner has confirmed."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+$", address))])
    error_message = "alarm_emails must hold e-mail addresses."
  }
}

variable "queue_age_seconds" {
  description = "Age of a queue's oldest message that is an alarm."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.queue_age_seconds >= 60 && var.queue_age_seconds <= 1209600
    error_message = "queue_age_seconds must be from 60 to 1209600, the retention of the queue."
  }
}

variable "failed_runs" {
  description = "Failed runs in five minutes that are still no alarm."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.failed_runs >= 0
    error_message = "failed_runs must be 0 or more."
  }
}

variable "pool_at_max_minutes" {
  description = "Minutes for which a pool may want more than its max tasks before it is an alarm."
  type        = number
  default     = 15
  nullable    = false

  validation {
    condition     = var.pool_at_max_minutes >= 1 && var.pool_at_max_minutes <= 1440
    error_message = "pool_at_max_minutes must be from 1 to 1440: CloudWatch looks back no more than a day."
  }
}

variable "database_free_gib" {
  description = "Free storage of the database below which it is an alarm. RDS grows by itself below a tenth of what is allocated, so this says that it could not."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.database_free_gib > 0
    error_message = "database_free_gib must be more than 0."
  }
}

variable "kms_deletion_days" {
  description = "Days between a destroy and the end of the KMS key, in which it can be taken back."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.kms_deletion_days >= 7 && var.kms_deletion_days <= 30
    error_message = "kms_deletion_days must be from 7 to 30: KMS takes no other."
  }
}

variable "tags" {
  description = "Tags of every resource of the module."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags must be at most 40, and no key may begin with aws:."
  }
}
