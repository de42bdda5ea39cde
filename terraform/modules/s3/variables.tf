variable "name" {
  description = "What everything is called after, setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter: load balancers, functions and roles are called after it, and AWS limits their names."
  }
}

variable "bucket" {
  description = "Name of the data bucket; null makes it <name>-data-<account>."
  type        = string
  default     = null

  validation {
    condition     = var.bucket == null || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must be 3 to 63 lower-case letters, digits and hyphens (a dot breaks TLS), or null."
  }
}

variable "cold_storage_class" {
  description = "Storage class of cold data after cold_after_days. GLACIER_IR is readable at once; data in GLACIER and DEEP_ARCHIVE must be restored before a task can read it."
  type        = string
  default     = "GLACIER_IR"
  nullable    = false

  validation {
    condition     = contains(["GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"], var.cold_storage_class)
    error_message = "cold_storage_class must be GLACIER_IR, GLACIER or DEEP_ARCHIVE."
  }
}

variable "cold_after_days" {
  description = "Age at which cold data moves to cold_storage_class."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = var.cold_after_days >= 1 && floor(var.cold_after_days) == var.cold_after_days
    error_message = "cold_after_days must be a whole number of days, 1 or more."
  }
}

variable "log_expiry_days" {
  description = "Age at which task logs are deleted."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.log_expiry_days >= 1 && floor(var.log_expiry_days) == var.log_expiry_days
    error_message = "log_expiry_days must be a whole number of days, 1 or more."
  }
}

variable "noncurrent_days" {
  description = "Days for which a deleted or replaced object can be taken back."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days must be a whole number of days, 1 or more."
  }
}

variable "force_destroy" {
  description = "Let a destroy delete the bucket with everything in it."
  type        = bool
  default     = false
  nullable    = false
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
