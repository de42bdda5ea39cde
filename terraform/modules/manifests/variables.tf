variable "name" {
  description = "What the names of queues begin with."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and '-', beginning with a letter."
  }
}

variable "dags_dir" {
  description = "The folder below which every *.yaml is read."
  type        = string
}
