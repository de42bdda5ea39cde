variable "name" {
  description = "What everything is called after, setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter: load balancers, functions and roles are called after it, and AWS limits their names."
  }
}

variable "names" {
  description = "Full names of the secrets, <name>/…. They are made without values: the migrate task draws what is missing, so no value stands in Terraform's state."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for secret in var.names : startswith(secret, "${var.name}/") && can(regex("^[A-Za-z0-9/_+=.@-]{1,505}$", secret))])
    error_message = "names must begin with <name>/ and hold letters, digits and /_+=.@- only."
  }

  validation {
    condition     = alltrue([for secret in var.names : !startswith(secret, "${var.name}/tasks/")])
    error_message = "names must not lie below <name>/tasks/: those are people's own secrets, made by hand with the key of this module."
  }
}

variable "recovery_days" {
  description = "Days in which a deleted secret can be taken back; 0 deletes it at once, so that its name is free again."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.recovery_days == 0 || (var.recovery_days >= 7 && var.recovery_days <= 30)
    error_message = "recovery_days must be 0, or from 7 to 30."
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
