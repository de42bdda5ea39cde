variable "name" {
  description = "What everything is called after, setpoint-<environment>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter: load balancers, functions and roles are called after it, and AWS limits their names."
  }
}

variable "vpc_id" {
  description = "VPC of the database."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "vpc_id must be the id of a VPC, vpc-…."
  }
}

variable "subnet_ids" {
  description = "Private subnets of the database, in two zones or more."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2
    error_message = "subnet_ids must hold two subnets or more, in different zones: RDS refuses a subnet group of one zone."
  }
}

variable "client_security_group_ids" {
  description = "Security groups that may connect to the database, by a name of one's own (dispatcher, worker, migrate); nothing else may."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.client_security_group_ids) >= 1
    error_message = "client_security_group_ids must hold a group: a database that admits nobody is of no use."
  }
}

variable "instance_class" {
  description = "Instance class. Its memory bounds the connections; see max_connections for a class that the module does not know."
  type        = string
  default     = "db.t4g.small"
  nullable    = false

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class must be an RDS instance class, such as db.t4g.small."
  }
}

variable "connections_wanted" {
  description = "Connections that all clients together may open: the sum over pools of max tasks x connections, plus the dispatchers' pools."
  type        = number
  nullable    = false

  validation {
    condition     = var.connections_wanted >= 1 && floor(var.connections_wanted) == var.connections_wanted
    error_message = "connections_wanted must be a whole number, 1 or more."
  }
}

variable "max_connections" {
  description = "max_connections of the database; null leaves RDS's formula over the class's memory."
  type        = number
  default     = null

  validation {
    condition     = var.max_connections == null || try(var.max_connections >= 20 && var.max_connections <= 5000, false)
    error_message = "max_connections must be from 20 to 5000, or null."
  }
}

variable "database_name" {
  description = "Name of the database."
  type        = string
  default     = "setpoint"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_name))
    error_message = "database_name must be 1 to 63 lower-case letters, digits and underscores, beginning with a letter."
  }
}

variable "master_username" {
  description = "Master login. It only bootstraps the roles; the system itself logs in by IAM."
  type        = string
  default     = "setpoint_master"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.master_username)) && !contains(["setpoint_dispatcher", "setpoint_migrator", "setpoint_worker_login"], var.master_username)
    error_message = "master_username must be 1 to 63 lower-case letters, digits and underscores, and none of the system's own logins."
  }
}

variable "allocated_storage_gib" {
  description = "Storage at the beginning, in GiB."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.allocated_storage_gib >= 20 && var.allocated_storage_gib <= 65536
    error_message = "allocated_storage_gib must be from 20 to 65536: gp3 has no smaller and RDS no larger."
  }
}

variable "max_storage_gib" {
  description = "Storage up to which RDS grows by itself, in GiB."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.max_storage_gib >= var.allocated_storage_gib * 1.26
    error_message = "max_storage_gib must be at least 26 % above allocated_storage_gib: with less room RDS warns from the first day, and below 10 % refuses."
  }
}

variable "multi_az" {
  description = "Keep a standby in a second zone."
  type        = bool
  default     = false
  nullable    = false
}

variable "deletion_protection" {
  description = "Refuse the deletion of the database."
  type        = bool
  default     = true
  nullable    = false
}

variable "final_snapshot" {
  description = "Take a snapshot <name>-final before a deletion and keep the automated backups; without it a deletion leaves nothing."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = var.final_snapshot || !var.deletion_protection
    error_message = "final_snapshot must be true while deletion_protection is: a database worth protecting is worth a snapshot."
  }
}

variable "backup_days" {
  description = "Days back to any second of which the database can be restored (PITR)."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "backup_days must be from 1 to 35; 0 would switch point-in-time recovery off."
  }
}

variable "backup_window" {
  description = "Daily window of the automated snapshot, UTC."
  type        = string
  default     = "03:00-04:00"
  nullable    = false

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$", var.backup_window))
    error_message = "backup_window must be hh:mm-hh:mm in UTC."
  }
}

variable "maintenance_window" {
  description = "Weekly window of RDS's own maintenance, UTC, outside the backup window."
  type        = string
  default     = "sun:04:30-sun:05:30"
  nullable    = false

  validation {
    condition     = can(regex("^(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]$", var.maintenance_window))
    error_message = "maintenance_window must be ddd:hh:mm-ddd:hh:mm in UTC, such as sun:04:30-sun:05:30."
  }
}

variable "apply_immediately" {
  description = "Apply changes of the instance at once instead of in the maintenance window."
  type        = bool
  default     = false
  nullable    = false
}

variable "ca_cert_identifier" {
  description = "Certificate authority of the server's certificate; null leaves the region's default. The images trust RDS's global bundle, which holds them all."
  type        = string
  default     = null

  validation {
    condition     = var.ca_cert_identifier == null || can(regex("^rds-ca-(rsa2048|rsa4096|ecc384)-g1$", var.ca_cert_identifier))
    error_message = "ca_cert_identifier must be rds-ca-rsa2048-g1, rds-ca-rsa4096-g1 or rds-ca-ecc384-g1, or null."
  }
}

variable "performance_insights" {
  description = "Record Performance Insights for 7 days, which are free."
  type        = bool
  default     = false
  nullable    = false
}

variable "monitoring_interval" {
  description = "Seconds between samples of enhanced monitoring; 0 switches it off."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.monitoring_interval)
    error_message = "monitoring_interval must be 0, 1, 5, 10, 15, 30 or 60."
  }
}

variable "log_retention_days" {
  description = "Days that CloudWatch keeps the database's logs."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, ... 3653."
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
