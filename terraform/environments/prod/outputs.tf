output "deployment" {
  description = "What `setpoint deploy` has to know of this environment."
  value = {
    name             = var.name
    environment      = local.environment
    region           = var.region
    account          = data.aws_caller_identity.this.account_id
    cluster          = module.ecs.cluster.name
    api_url          = module.alb.url
    api_server_name  = var.domain == null ? module.alb.internal_name : var.domain.name
    webhook_url      = "${module.lambda.api_endpoint}/hooks"
    data_bucket      = module.s3.bucket
    private_subnets  = local.network.private_subnet_ids
    dispatcher_tasks = var.dispatcher_tasks
    services         = module.ecs.services
    migrate          = module.ecs.migrate
    repositories     = { for key, repository in module.ecr.repositories : key => repository.url }
    pools            = sort(keys(module.manifests.pools))

    database = {
      host              = local.database.host
      port              = local.database.port
      name              = local.database.name
      master_secret_arn = local.database.master_secret_arn
    }

    secrets = {
      admin_token  = "${var.name}/admin-token"
      events_token = "${var.name}/events-token"
    }
  }
}

output "schedules" {
  description = "Which schedules have a rule of their own, which ride the one-minute tick, and which files yield none."
  value = {
    rules    = module.eventbridge.rules
    ticked   = module.eventbridge.ticked
    unparsed = module.eventbridge.unparsed
  }
}

output "alarms" {
  description = "The topic that alarms go to, and the dashboard."
  value       = { topic_arn = module.monitoring.topic_arn, dashboard = module.monitoring.dashboard_name }
}
