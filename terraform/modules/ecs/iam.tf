# One role a family for what its code may do (task), one for what ECS does to start it (execution).


locals {
  # Only ECS, and only for tasks of this account and region.
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })

  # A pool's own image, where it lies in ECR.
  registry_pattern = "^([0-9]{12})[.]dkr[.]ecr[.]([a-z0-9-]+)[.]amazonaws[.]com/([^:@]+)"
  own_images = {
    for key, pool in var.pools : key => [
      for m in try([regex(local.registry_pattern, pool.image)], []) : "arn:${local.partition}:ecr:${m[1]}:${m[0]}:repository/${m[2]}"
    ]
  }

  images = {
    for key, w in local.workloads : key => concat([var.repositories[w.repository].arn], lookup(local.own_images, key, []))
  }

  task_statements = merge(
    { dispatcher = local.dispatcher_statements, migrate = local.migrate_statements },
    local.worker_statements,
  )
}

resource "aws_iam_role" "task" {
  for_each = local.workloads

  name               = "${var.name}-${each.key}-task"
  description        = "What the code of ${each.key} may do"
  assume_role_policy = local.trust
  tags               = var.tags
}

resource "aws_iam_role_policy" "task" {
  for_each = local.workloads

  name = "reach"
  role = aws_iam_role.task[each.key].name

  # A statement without a resource is one about something that there is none of.
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [for s in local.task_statements[each.key] : merge({ Effect = "Allow" }, s) if length(s.Resource) > 0]
  })
}

resource "aws_iam_role" "execution" {
  for_each = local.workloads

  name               = "${var.name}-${each.key}-execution"
  description        = "What ECS may do to start ${each.key}"
  assume_role_policy = local.trust
  tags               = var.tags
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.workloads

  name = "start"
  role = aws_iam_role.execution[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "RegistryLogin"
        Effect = "Allow"
        Action = ["ecr:GetAuthorizationToken"]
        # The login is to the account's registry as a whole; the action knows no resource.
        Resource = ["*"]
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = local.images[each.key]
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this[each.key].arn}:*"]
      },
    ]
  })
}
