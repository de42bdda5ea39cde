# Services are made at 0 tasks; a deployment sets the task definition and the dispatcher's count, autoscaling the pools'.

resource "aws_ecs_service" "dispatcher" {
  name                              = "dispatcher"
  cluster                           = aws_ecs_cluster.this.arn
  task_definition                   = aws_ecs_task_definition.this["dispatcher"].arn
  desired_count                     = 0
  health_check_grace_period_seconds = local.start_seconds
  availability_zone_rebalancing     = "ENABLED"
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"
  tags                              = var.tags

  # Without this a change of the strategy would replace the service, and with it all its tasks.
  force_new_deployment = true

  deployment_maximum_percent         = 200
  deployment_minimum_healthy_percent = 100

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 100
  }

  network_configuration {
    subnets          = var.network.private_subnet_ids
    security_groups  = [aws_security_group.this["dispatcher"].id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = range(length(var.load_balancers.target_group_arns))

    content {
      target_group_arn = var.load_balancers.target_group_arns[load_balancer.value]
      container_name   = "dispatcher"
      container_port   = 8080
    }
  }

  lifecycle {
    ignore_changes = [task_definition, desired_count]
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}

resource "aws_ecs_service" "pool" {
  for_each = var.pools

  name                    = each.key
  cluster                 = aws_ecs_cluster.this.arn
  task_definition         = aws_ecs_task_definition.this[each.key].arn
  desired_count           = 0
  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = merge(var.tags, { "setpoint:pool" = each.value.name })

  # Moving idle workers between zones gains nothing, and busy ones are protected.
  availability_zone_rebalancing = "DISABLED"

  # Without this a change of spotPercent would replace the service, and with it all its tasks.
  force_new_deployment = true

  deployment_maximum_percent         = 200
  deployment_minimum_healthy_percent = 100

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "capacity_provider_strategy" {
    for_each = {
      for provider, weight in { FARGATE = 100 - each.value.spot_percent, FARGATE_SPOT = each.value.spot_percent } :
      provider => weight if weight > 0
    }

    content {
      capacity_provider = capacity_provider_strategy.key
      weight            = capacity_provider_strategy.value
    }
  }

  network_configuration {
    subnets          = var.network.private_subnet_ids
    security_groups  = [aws_security_group.this["worker"].id]
    assign_public_ip = false
  }

  lifecycle {
    ignore_changes = [task_definition, desired_count]
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}
