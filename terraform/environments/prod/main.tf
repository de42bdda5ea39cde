# Three zones, of which one may fail; nothing that holds data can be destroyed by a plan alone.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

module "manifests" {
  source = "../../modules/manifests"

  name     = var.name
  dags_dir = var.dags_dir
}

module "vpc" {
  source = "../../modules/vpc"
  count  = var.vpc == null ? 1 : 0

  name                = var.name
  cidr                = var.vpc_cidr
  zones               = 3
  nat_per_zone        = true
  interface_endpoints = ["ecr.api", "ecr.dkr", "ecs", "kms", "lambda", "logs", "monitoring", "secretsmanager", "sqs", "sts", "xray"]
  endpoint_zones      = 3
  flow_logs           = true
  log_retention_days  = var.log_retention_days
}

module "rds" {
  source = "../../modules/rds"
  count  = var.database == null ? 1 : 0

  name                      = var.name
  vpc_id                    = local.network.id
  subnet_ids                = local.network.private_subnet_ids
  client_security_group_ids = module.ecs.security_group_ids
  instance_class            = var.instance_class
  connections_wanted        = local.connections_wanted
  multi_az                  = true
  deletion_protection       = true
  final_snapshot            = true
  backup_days               = 14
  max_storage_gib           = 1000
  performance_insights      = true
  monitoring_interval       = 60
  log_retention_days        = var.log_retention_days
  kms_deletion_days         = 30
}

module "sqs" {
  source = "../../modules/sqs"

  queues              = { for key, pool in module.manifests.pools : key => pool.queue }
  failures_queue_name = "${var.name}-lambda-failures"
}

module "s3" {
  source = "../../modules/s3"

  name               = var.name
  cold_storage_class = var.cold_storage_class
  force_destroy      = false
  kms_deletion_days  = 30
}

module "ecr" {
  source = "../../modules/ecr"

  name         = var.name
  repositories = ["dispatcher", "worker-polars", "worker-python", "worker-ingest"]
  force_delete = false
}

module "secrets" {
  source = "../../modules/secrets"

  name              = var.name
  names             = local.secret_names
  recovery_days     = 30
  kms_deletion_days = 30
}

module "alb" {
  source = "../../modules/alb"

  name                         = var.name
  vpc_id                       = local.network.id
  public_subnet_ids            = local.network.public_subnet_ids
  private_subnet_ids           = local.network.private_subnet_ids
  dispatcher_security_group_id = module.ecs.security_group_ids["dispatcher"]
  certificate_arn              = var.domain == null ? var.certificate_arn : null
  domain                       = var.domain
  internal_zone                = var.internal_zone
  public_cidrs                 = var.public_cidrs
  web_acl_arn                  = var.web_acl_arn
  access_logs                  = true
  access_log_days              = 365
  deletion_protection          = true

  internal_client_security_group_ids = {
    worker = module.ecs.security_group_ids["worker"]
    lambda = module.lambda.security_group_id
  }
}

module "ecs" {
  source = "../../modules/ecs"

  name                = var.name
  environment         = local.environment
  pools               = module.manifests.pools
  repositories        = module.ecr.repositories
  queues              = module.sqs.queues
  failures_queue      = module.sqs.failures_queue
  data_bucket         = local.data_bucket
  secrets             = module.secrets
  database            = local.database
  api                 = local.api
  dispatcher          = var.dispatcher
  lambda_functions    = local.own_functions
  container_insights  = var.container_insights
  log_retention_days  = var.log_retention_days
  log_level           = var.log_level
  otlp_endpoint       = var.otlp_endpoint
  worker_egress_ports = var.worker_egress_ports
  worker_storage_gib  = var.worker_storage_gib
  notifier_topic_arns = var.notifier_topic_arns
  public_url          = module.alb.url
  oidc                = var.oidc

  network = {
    vpc_id             = local.network.id
    vpc_cidr           = local.network.cidr
    private_subnet_ids = local.network.private_subnet_ids
  }

  load_balancers = {
    target_group_arns  = module.alb.target_group_arns
    security_group_ids = module.alb.security_group_ids
  }
}

module "lambda" {
  source = "../../modules/lambda"

  name               = var.name
  lambda_zips        = var.lambda_zips
  network            = { vpc_id = local.network.id, private_subnet_ids = local.network.private_subnet_ids }
  api                = local.api
  secrets            = module.secrets
  data_bucket        = local.data_bucket
  failures_queue_arn = module.sqs.failures_queue.arn
  webhook_prefixes   = module.manifests.webhook_prefixes
  operator           = local.operator
  source_concurrency = var.source_concurrency
  log_retention_days = var.log_retention_days
}

module "eventbridge" {
  source = "../../modules/eventbridge"

  name               = var.name
  dags_dir           = var.dags_dir
  cron_function      = module.lambda.functions["cron"]
  ecs_state_function = module.lambda.functions["ecs-state"]
  cluster_arn        = module.ecs.cluster.arn
  max_rules          = var.max_schedule_rules
}

module "monitoring" {
  source = "../../modules/monitoring"

  name              = var.name
  environment       = local.environment
  pools             = local.watched_pools
  database          = local.watched_database
  load_balancers    = module.alb.arn_suffixes
  lambda_functions  = [for function in values(module.lambda.functions) : function.name]
  failures_queue    = module.sqs.failures_queue.name
  alarm_emails      = var.alarm_emails
  kms_deletion_days = 30
}
