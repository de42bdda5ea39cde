data "aws_partition" "this" {}

data "aws_caller_identity" "this" {}

locals {
  port         = 5432
  log_exports  = ["postgresql", "upgrade"]
  snapshot     = "${var.name}-final"
  monitor      = var.monitoring_interval > 0
  class_family = split(".", var.instance_class)[1]
  class_size   = split(".", var.instance_class)[2]

  # Memory of the sizes in GiB: t classes have their own scale, r classes twice what m classes have.
  burst_memory   = { micro = 1, small = 2, medium = 4, large = 8, xlarge = 16, "2xlarge" = 32 }
  general_memory = { large = 8, xlarge = 16, "2xlarge" = 32, "4xlarge" = 64, "8xlarge" = 128, "12xlarge" = 192, "16xlarge" = 256, "24xlarge" = 384 }
  memory_gib = (
    startswith(local.class_family, "t") ? lookup(local.burst_memory, local.class_size, 0) :
    startswith(local.class_family, "m") ? lookup(local.general_memory, local.class_size, 0) :
    startswith(local.class_family, "r") ? 2 * lookup(local.general_memory, local.class_size, 0) : 0
  )

  # RDS's default is LEAST({DBInstanceClassMemory/9531392}, 5000), where DBInstanceClassMemory is what the class has less what
  # the system and RDS's own processes keep. How much that is stands nowhere, so a quarter GiB and 5 % are taken off.
  # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.MaxConnections
  usable_bytes    = max(0, local.memory_gib - 0.25) * 0.95 * 1024 * 1024 * 1024
  max_connections = var.max_connections != null ? var.max_connections : min(floor(local.usable_bytes / 9531392), 5000)
  connections_cap = floor(0.8 * local.max_connections)
}

resource "aws_kms_key" "this" {
  description             = "Database of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_deletion_days

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # Without it nobody could mend the key's policy; who of the account may use the key is then said by IAM alone.
      Sid       = "AccountAdministers"
      Effect    = "Allow"
      Principal = { AWS = "arn:${data.aws_partition.this.partition}:iam::${data.aws_caller_identity.this.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })

  tags = merge(var.tags, { Name = "${var.name}-database" })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-database"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Private subnets of ${var.name}"
  subnet_ids  = var.subnet_ids

  tags = var.tags
}

# The family stands in the name, so that a new major version makes a new group beside the one in use.
resource "aws_db_parameter_group" "this" {
  name        = "${var.name}-postgres15"
  family      = "postgres15"
  description = "Settings of ${var.name}"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_lock_waits"
    value = "1"
  }

  # Statements that change the schema, and slow ones. Roles have no passwords (IAM), so none can stand in a logged CREATE ROLE.
  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  # The values that a slow statement was given are people's data, and may hold a secret: only its text is logged.
  parameter {
    name  = "log_parameter_max_length"
    value = "0"
  }

  # Postgres reads it only at start.
  parameter {
    name         = "max_connections"
    value        = var.max_connections != null ? tostring(var.max_connections) : "LEAST({DBInstanceClassMemory/9531392},5000)"
    apply_method = "pending-reboot"
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

# Made before the database, so that the logs have a retention and end with it.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts at rest with a key of its own, and the parameters above keep values out of the log
  #checkov:skip=CKV_AWS_338:how long the log is kept is the environment's choice, log_retention_days
  for_each = toset(local.log_exports)

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days

  tags = var.tags
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_118:enhanced monitoring is the variable monitoring_interval; prod switches it on
  #checkov:skip=CKV_AWS_157:a standby is the variable multi_az; prod switches it on
  #checkov:skip=CKV_AWS_293:deletion protection is on unless an environment says that it can be destroyed whole
  #checkov:skip=CKV_AWS_353:Performance Insights are the variable performance_insights; prod switches them on
  identifier     = var.name
  engine         = "postgres"
  engine_version = "15"
  instance_class = var.instance_class

  db_name  = var.database_name
  username = var.master_username
  port     = local.port

  manage_master_user_password         = true
  master_user_secret_kms_key_id       = aws_kms_key.this.arn
  iam_database_authentication_enabled = true

  storage_type          = "gp3"
  allocated_storage     = var.allocated_storage_gib
  max_allocated_storage = var.max_storage_gib
  storage_encrypted     = true
  kms_key_id            = aws_kms_key.this.arn

  multi_az               = var.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this.name
  ca_cert_identifier     = var.ca_cert_identifier

  backup_retention_period   = var.backup_days
  backup_window             = var.backup_window
  copy_tags_to_snapshot     = true
  delete_automated_backups  = !var.final_snapshot
  skip_final_snapshot       = !var.final_snapshot
  final_snapshot_identifier = var.final_snapshot ? local.snapshot : null
  deletion_protection       = var.deletion_protection

  maintenance_window         = var.maintenance_window
  auto_minor_version_upgrade = true
  apply_immediately          = var.apply_immediately

  enabled_cloudwatch_logs_exports = local.log_exports
  monitoring_interval             = var.monitoring_interval
  monitoring_role_arn             = local.monitor ? aws_iam_role.monitoring[0].arn : null

  performance_insights_enabled          = var.performance_insights
  performance_insights_kms_key_id       = var.performance_insights ? aws_kms_key.this.arn : null
  performance_insights_retention_period = var.performance_insights ? 7 : null

  tags = merge(var.tags, { Name = var.name })

  depends_on = [aws_cloudwatch_log_group.this]

  lifecycle {
    precondition {
      condition     = local.max_connections > 0
      error_message = "The memory of ${var.instance_class} is not known here: set max_connections, which then also becomes the database's own setting."
    }

    precondition {
      condition     = var.connections_wanted <= local.connections_cap
      error_message = "The pools and dispatchers may open ${var.connections_wanted} connections, but 80 % of what ${var.instance_class} takes are ${local.connections_cap}: take a larger instance_class, or fewer max tasks or slots."
    }
  }
}
