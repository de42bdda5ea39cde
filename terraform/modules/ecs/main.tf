data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.name

  bundle_path = "/etc/ssl/certs/rds.pem"
  dsn         = "host=${var.database.host} port=${var.database.port} dbname=${var.database.name} sslmode=verify-full sslrootcert=${local.bundle_path}"

  # Names of secrets, which stand in the environment instead of their values.
  signing_key  = "${var.name}/signing-key"
  admin_token  = "${var.name}/admin-token"
  events_token = "${var.name}/events-token"
}

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:Container Insights costs metrics per task; a variable turns it on, and the dispatcher publishes what scaling and alarms need
  name = var.name
  tags = var.tags

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs at rest with a key of its own, and no secret is logged
  #checkov:skip=CKV_AWS_338:How long logs are kept is the owner's variable; logs of tasks are kept in S3
  for_each = local.workloads

  name              = each.value.log_group
  retention_in_days = var.log_retention_days
  tags              = var.tags
}
