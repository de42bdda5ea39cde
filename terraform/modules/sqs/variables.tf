variable "queues" {
  description = "Names of the pools' queues by a key of one's own (the pool's service name): each becomes a FIFO queue with a dead-letter queue."
  type        = map(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in values(var.queues) : can(regex("^[A-Za-z0-9_-]{1,71}\\.fifo$", name))])
    error_message = "queues must hold names of letters, digits, hyphens and underscores that end with .fifo, at most 76 characters: the dead-letter queue's name is four longer."
  }

  validation {
    condition     = length(distinct(values(var.queues))) == length(var.queues)
    error_message = "queues must hold distinct names: a queue belongs to exactly one pool."
  }
}

variable "failures_queue_name" {
  description = "Name of the standard queue to which Lambda sends invocations that failed, <name>-lambda-failures."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,80}$", var.failures_queue_name))
    error_message = "failures_queue_name must be 1 to 80 letters, digits, hyphens and underscores, without .fifo: Lambda cannot send to a FIFO queue."
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
