variable "name" {
  description = "What everything is called after, setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter: load balancers, functions and roles are called after it, and AWS limits their names."
  }
}

variable "cidr" {
  description = "Address range of the VPC. Each private subnet gets a quarter of it, each public one a sixteenth."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 22, false)
    error_message = "cidr must be an IPv4 range from /16 to /22, such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones to spread over, one private and one public subnet in each."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.zones == 2 || var.zones == 3
    error_message = "zones must be 2 or 3: a load balancer and a database's subnet group want two, the address plan has room for three."
  }
}

variable "zone_names" {
  description = "Names of the availability zones; null takes the region's first ones. Pin them where a new zone of the region must not move subnets."
  type        = list(string)
  default     = null

  validation {
    condition     = var.zone_names == null || try(length(distinct(var.zone_names)) == var.zones, false)
    error_message = "zone_names must name as many distinct zones as zones says, or be null."
  }
}

variable "nat_per_zone" {
  description = "One NAT gateway a zone (a zone can fail alone) instead of one in all (cheaper)."
  type        = bool
  default     = false
  nullable    = false
}

variable "interface_endpoints" {
  description = "AWS services that are reached by an interface endpoint instead of through NAT, by the last part of their endpoint's name."
  type        = list(string)
  default     = ["secretsmanager", "sqs"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.interface_endpoints, ["ecr.api", "ecr.dkr", "ecs", "kms", "lambda", "logs", "monitoring", "secretsmanager", "sqs", "sts", "xray"])) == 0
    error_message = "interface_endpoints may hold ecr.api, ecr.dkr, ecs, kms, lambda, logs, monitoring, secretsmanager, sqs, sts and xray: no part of the system calls another."
  }

  validation {
    condition     = contains(var.interface_endpoints, "ecr.api") == contains(var.interface_endpoints, "ecr.dkr")
    error_message = "interface_endpoints must hold both of ecr.api and ecr.dkr or neither: a pull uses the one for its token and the other for the manifest."
  }
}

variable "endpoint_zones" {
  description = "Zones in which each interface endpoint has an address: each costs by the hour, and with fewer than zones a zone's failure takes the endpoints along."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.endpoint_zones >= 1 && var.endpoint_zones <= var.zones
    error_message = "endpoint_zones must be from 1 to zones."
  }
}

variable "s3_accounts" {
  description = "Further AWS accounts whose buckets the S3 endpoint admits, for pools whose grants name buckets of others."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.s3_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "s3_accounts must hold account numbers of 12 digits."
  }
}

variable "flow_logs" {
  description = "Log the VPC's traffic to CloudWatch."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that CloudWatch keeps the flow logs."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, ... 3653."
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
