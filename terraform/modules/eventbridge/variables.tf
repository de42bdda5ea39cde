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

variable "dags_dir" {
  description = "The folder below which every *.yaml is read for schedules."
  type        = string
  nullable    = false
}

variable "cron_function" {
  description = "The function that hands ticks to the dispatcher."
  type = object({
    name = string
    arn  = string
  })
  nullable = false
}

variable "ecs_state_function" {
  description = "The function that hands stopped tasks to the dispatcher."
  type = object({
    name = string
    arn  = string
  })
  nullable = false
}

variable "cluster_arn" {
  description = "The cluster whose stopped tasks are told."
  type        = string
  nullable    = false
}

variable "max_rules" {
  description = "How many schedules get a rule of their own; the others ride the platform tick. An event bus holds 300 rules of all environments of an account and region."
  type        = number
  default     = 250
  nullable    = false

  validation {
    condition     = var.max_rules >= 0 && var.max_rules <= 250
    error_message = "max_rules must be 0 to 250: an event bus holds 300 rules, and others want some."
  }
}
