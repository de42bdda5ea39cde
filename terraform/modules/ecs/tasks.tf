locals {
  containers = {
    for key, w in local.workloads : key => {
      for field, value in {
        name      = w.container
        image     = w.image
        essential = true
        command   = w.command
        user      = local.user

        readonlyRootFilesystem = true
        linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
        mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]

        # SIGTERM, then 120 s (Fargate's most) until SIGKILL: a worker finishes or reports its attempts Evicted within 110 s.
        stopTimeout  = 120
        portMappings = w.port == null ? null : [{ containerPort = w.port, hostPort = w.port, protocol = "tcp" }]
        healthCheck = w.probe == null ? null : {
          command     = w.probe
          interval    = 15
          timeout     = 10
          retries     = 3
          startPeriod = local.start_seconds
        }

        environment = [for name in sort(keys(w.environment)) : { name = name, value = w.environment[name] }]

        logConfiguration = {
          logDriver = "awslogs"
          options = {
            awslogs-group         = w.log_group
            awslogs-region        = local.region
            awslogs-stream-prefix = w.container
            # A slow CloudWatch must not stall the process that logs.
            mode            = "non-blocking"
            max-buffer-size = "16m"
          }
        }
      } : field => value if value != null
    }
  }
}

# The template of a family. Its image is never run: a deployment registers the same definition with an image's digest
# in the same family and points the service at that.
resource "aws_ecs_task_definition" "this" {
  for_each = local.workloads

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = aws_iam_role.task[each.key].arn
  container_definitions    = jsonencode([local.containers[each.key]])
  tags                     = var.tags

  # Earlier revisions are what a rollback goes back to.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  # The one folder that can be written. The image declares it as a volume, which gives it its owner and mode.
  volume {
    name = "tmp"
  }

  dynamic "ephemeral_storage" {
    for_each = each.value.storage == null ? [] : [each.value.storage]

    content {
      size_in_gib = ephemeral_storage.value
    }
  }
}
