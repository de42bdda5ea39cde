output "pools" {
  description = "The pools that are ECS services, by service name."
  value = {
    for key, p in local.by_key : key => {
      name         = p.name
      namespace    = p.namespace
      runtime      = p.runtime
      slots        = p.slots
      min_tasks    = p.min_tasks
      max_tasks    = p.max_tasks
      spot_percent = p.spot_percent
      cpu          = p.size.cpu
      memory       = p.size.memory
      queue        = p.queue
      image        = p.image
      grants       = p.grants
    } if p.runtime != "lambda"
  }

  precondition {
    condition     = length(local.broken_pool) == 0
    error_message = "No YAML, although it declares worker pools, whose queues and services would be destroyed: ${join(", ", distinct(local.broken_pool))}. Mend it (`setpoint apply --dry-run` says where)."
  }

  precondition {
    condition     = length(local.repeated) == 0
    error_message = "More than one worker pool is called ${join(", ", local.repeated)} (outside namespace default a pool is called <namespace>-<name>). Rename all but one."
  }

  precondition {
    condition     = length(local.oversized) == 0
    error_message = "No Fargate task is as large as pool ${join(", ", local.oversized)} asks: at most 16384 CPU units and 120Gi."
  }
}

output "lambda_pools" {
  description = "The pools that are Lambda functions, by pool name."
  value = {
    for key, p in local.by_key : key => {
      name      = p.name
      namespace = p.namespace
      limit     = p.slots * p.max_tasks
      memory    = p.memory_wanted
      function  = p.function
      grants    = p.grants
    } if p.runtime == "lambda"
  }

  precondition {
    condition     = length(local.unnamed) <= 1
    error_message = "The operator <name>-operator serves one pool, but ${join(", ", local.unnamed)} want it. Give all but one a `function` of their own."
  }
}

output "schedules" {
  description = "All schedules of all DAGs."
  value       = local.schedules
}

output "webhook_prefixes" {
  description = "The first segments of all webhook paths, sorted."
  value       = sort(distinct(local.webhook_prefixes))
}

output "unparsed" {
  description = "Files that are no YAML, or hold a document without a kind: nothing of them is taken."
  value       = local.broken
}
