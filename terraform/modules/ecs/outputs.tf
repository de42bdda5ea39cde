output "cluster" {
  description = "Name and ARN of the cluster."
  value       = { name = aws_ecs_cluster.this.name, arn = aws_ecs_cluster.this.arn }
}

output "services" {
  description = "The services: what a deployment has to know of each."
  value = merge(
    {
      dispatcher = {
        service        = aws_ecs_service.dispatcher.name
        family         = aws_ecs_task_definition.this["dispatcher"].family
        container      = "dispatcher"
        image          = "dispatcher"
        kind           = "dispatcher"
        template       = aws_ecs_task_definition.this["dispatcher"].arn
        security_group = aws_security_group.this["dispatcher"].id
      }
    },
    {
      for key, pool in var.pools : key => {
        service   = aws_ecs_service.pool[key].name
        family    = aws_ecs_task_definition.this[key].family
        container = "worker"
        # A pool with an image of its own runs that one, as its template says.
        image          = pool.image == null ? "worker-${pool.runtime}" : null
        kind           = "worker"
        template       = aws_ecs_task_definition.this[key].arn
        security_group = aws_security_group.this["worker"].id
        min_tasks      = pool.min_tasks
        max_tasks      = pool.max_tasks
      }
    },
  )
}

output "migrate" {
  description = "The one-off migration task."
  value = {
    family         = aws_ecs_task_definition.this["migrate"].family
    container      = "migrate"
    image          = "dispatcher"
    template       = aws_ecs_task_definition.this["migrate"].arn
    security_group = aws_security_group.this["migrate"].id
  }
}

output "security_group_ids" {
  description = "Security groups of dispatcher, worker and migrate, for rules of what they reach."
  value       = { for key, group in aws_security_group.this : key => group.id }
}

output "task_role_arns" {
  description = "Task roles by family."
  value       = { for key, role in aws_iam_role.task : key => role.arn }
}

output "execution_role_arns" {
  description = "Execution roles by family."
  value       = { for key, role in aws_iam_role.execution : key => role.arn }
}
