variable "name" {
  description = "What everything is called after, setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter: load balancers, functions and roles are called after it, and AWS limits their names."
  }
}

variable "repositories" {
  description = "Repositories by the last part of their name: dispatcher, worker-polars, …; each is called <name>/<repository>."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.repositories) >= 1 && alltrue([for key in var.repositories : can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", key))])
    error_message = "repositories must hold one name or more of lower-case letters, digits and single hyphens."
  }
}

variable "keep_images" {
  description = "Tagged images that each repository keeps. A rollback finds no image that is older."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.keep_images >= 10 && var.keep_images <= 1000
    error_message = "keep_images must be from 10 to 1000: with fewer, an image that still runs could be deleted."
  }
}

variable "force_delete" {
  description = "Let a destroy delete repositories that hold images."
  type        = bool
  default     = false
  nullable    = false
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
