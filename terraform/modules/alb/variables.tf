variable "name" {
  description = "What everything is called after: setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    # A load balancer's name has at most 32 characters, and the longest here is <name>-internal.
    condition     = can(regex("^[a-z][a-z0-9-]{1,21}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 23 lower-case letters, digits and '-', beginning with a letter."
  }
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
  nullable    = false
}

variable "public_subnet_ids" {
  description = "Subnets of the public load balancer, in two zones or more."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "A load balancer needs subnets in at least two zones."
  }
}

variable "private_subnet_ids" {
  description = "Subnets of the internal load balancer, in two zones or more."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "A load balancer needs subnets in at least two zones."
  }
}

variable "dispatcher_security_group_id" {
  description = "The security group of the dispatchers, the one thing that the load balancers reach."
  type        = string
  nullable    = false
}

variable "internal_client_security_group_ids" {
  description = "Who may call the internal load balancer: security groups by a name for each (worker, lambda)."
  type        = map(string)
  nullable    = false
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

variable "certificate_arn" {
  description = "The ACM certificate of both load balancers; null: one is issued for `domain`."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null ? true : can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate."
  }

  validation {
    condition     = (var.certificate_arn == null) != (var.domain == null)
    error_message = "Give either certificate_arn, or domain with its zone: tokens never pass by plain HTTP."
  }
}

variable "domain" {
  description = "The public name, with the Route 53 zone in which it lies: a certificate is issued, and the name points at the load balancer."
  type = object({
    name    = string
    zone_id = string
  })
  default = null
}

variable "internal_zone" {
  description = "The private hosted zone in which `dispatcher` is the internal load balancer; null: internal.<domain>, else <name>.internal. The certificate must cover dispatcher.<zone>."
  type        = string
  default     = null
}

variable "access_logs" {
  description = "Whether the public load balancer's requests are logged to a bucket of their own."
  type        = bool
  default     = false
  nullable    = false
}

variable "access_log_days" {
  description = "For how many days access logs are kept."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.access_log_days >= 1 && floor(var.access_log_days) == var.access_log_days
    error_message = "access_log_days must be a whole number of days, 1 or more."
  }
}

variable "deletion_protection" {
  description = "Whether the load balancers refuse to be deleted."
  type        = bool
  default     = true
  nullable    = false
}

variable "force_destroy" {
  description = "Whether a destroy deletes access logs."
  type        = bool
  default     = false
  nullable    = false
}

variable "container_port" {
  description = "The port of a dispatcher."
  type        = number
  default     = 8080
  nullable    = false

  validation {
    condition     = var.container_port >= 1 && var.container_port <= 65535
    error_message = "container_port must be a TCP port."
  }
}

variable "web_acl_arn" {
  description = "A regional WAF web ACL for the public load balancer; null: none."
  type        = string
  default     = null
}
