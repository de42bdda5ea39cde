mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name        = "setpoint-test"
  environment = "test"

  network        = { vpc_id = "vpc-1", vpc_cidr = "10.0.0.0/16", private_subnet_ids = ["subnet-1", "subnet-2"] }
  api            = { url = "https://dispatcher.setpoint-test.internal", ca_pem = "PEM" }
  failures_queue = { arn = "arn:aws:sqs:us-east-1:123456789012:setpoint-test-lambda-failures", name = "setpoint-test-lambda-failures" }
  data_bucket    = { name = "data", arn = "arn:aws:s3:::data", kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/data" }

  load_balancers = {
    target_group_arns  = ["arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/public/1", "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/internal/2"]
    security_group_ids = { public = "sg-public", internal = "sg-internal" }
  }

  database = {
    host                      = "db.example"
    port                      = 5432
    name                      = "setpoint"
    resource_id               = "db-TEST"
    master_secret_arn         = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1-abcdef"
    master_secret_kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/rds"
  }

  secrets = {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/secrets"
    arns = {
      for name in ["admin-token", "events-token", "signing-key", "pools/polars", "pools/python", "pools/heavy", "webhooks/shop"] :
      "setpoint-test/${name}" => "arn:aws:secretsmanager:us-east-1:123456789012:secret:setpoint-test/${name}-abcdef"
    }
  }

  repositories = {
    for key in ["dispatcher", "worker-polars", "worker-python", "worker-ingest"] :
    key => { url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/setpoint-test/${key}", arn = "arn:aws:ecr:us-east-1:123456789012:repository/setpoint-test/${key}" }
  }

  queues = {
    for key in ["polars", "python", "research-heavy"] :
    key => {
      arn     = "arn:aws:sqs:us-east-1:123456789012:setpoint-test-${key}.fifo"
      url     = "https://sqs.us-east-1.amazonaws.com/123456789012/setpoint-test-${key}.fifo"
      name    = "setpoint-test-${key}.fifo"
      dlq_arn = "arn:aws:sqs:us-east-1:123456789012:setpoint-test-${key}-dlq.fifo"
    }
  }

  pools = {
    polars = { name = "polars", namespace = "default", runtime = "polars", slots = 2, min_tasks = 0, max_tasks = 4, spot_percent = 0, cpu = 1024, memory = 2048 }
    python = { name = "python", namespace = "default", runtime = "python", slots = 2, min_tasks = 1, max_tasks = 2, spot_percent = 100, cpu = 1024, memory = 2048 }
    research-heavy = {
      name         = "heavy"
      namespace    = "research"
      runtime      = "ingest"
      slots        = 4
      min_tasks    = 0
      max_tasks    = 8
      spot_percent = 80
      cpu          = 4096
      memory       = 9216
      image        = "210987654321.dkr.ecr.eu-west-1.amazonaws.com/team/heavy:1"
      grants       = { secrets = ["research/key"], cold_datasets = ["trips"], buckets = ["landing"] }
    }
  }
}

run "tasks_are_confined" {
  command = plan

  assert {
    condition = alltrue([
      for c in values(local.containers) : c.readonlyRootFilesystem && c.user == "10001:10001" && c.stopTimeout == 120 &&
      c.linuxParameters.initProcessEnabled && c.linuxParameters.capabilities.drop[0] == "ALL" && !can(c.privileged)
    ])
    error_message = "A container has a read-only root, an ordinary user, an init process, no capabilities and 120 s to end."
  }

  assert {
    condition     = alltrue([for c in values(local.containers) : c.mountPoints[0].containerPath == "/tmp" && !c.mountPoints[0].readOnly])
    error_message = "/tmp alone can be written."
  }

  assert {
    condition     = alltrue([for c in values(local.containers) : c.logConfiguration.logDriver == "awslogs" && c.logConfiguration.options.mode == "non-blocking"])
    error_message = "A slow CloudWatch must not stall a process."
  }

  assert {
    condition     = alltrue([for key in ["dispatcher", "polars", "python", "research-heavy"] : local.containers[key].healthCheck.command[0] == "CMD"])
    error_message = "Services have health checks that need no shell."
  }

  assert {
    condition     = alltrue([for t in values(aws_ecs_task_definition.this) : t.skip_destroy && t.runtime_platform[0].cpu_architecture == "X86_64" && t.network_mode == "awsvpc"])
    error_message = "Earlier revisions stay, for a rollback."
  }

  assert {
    condition     = length(aws_ecs_task_definition.this) == 5
    error_message = "There is a family for the dispatcher, the migration and each pool."
  }
}

run "nothing_secret_stands_in_an_environment" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for c in values(local.containers) : [
        for variable in c.environment : length(regexall("(?i)password=|BEGIN [A-Z ]*PRIVATE KEY", variable.value)) == 0
      ]
    ]))
    error_message = "Secrets are named, and read by the process that uses them."
  }

  assert {
    condition = alltrue([
      for key, login in { dispatcher = "setpoint_dispatcher", migrate = "setpoint_migrator", polars = "setpoint_worker_login" } :
      length([for v in local.containers[key].environment : v if strcontains(v.value, "sslmode=verify-full") && endswith(v.value, "user=${login}")]) == 1
    ])
    error_message = "Each login is an IAM login by verified TLS."
  }

  assert {
    condition = [for v in local.containers["migrate"].environment : v.value if v.name == "SETPOINT_DRAWN_SECRETS"][0] == join(",", [
      "setpoint-test/admin-token", "setpoint-test/events-token", "setpoint-test/pools/heavy", "setpoint-test/pools/polars",
      "setpoint-test/pools/python", "setpoint-test/signing-key", "setpoint-test/webhooks/shop",
    ])
    error_message = "The migration draws every secret."
  }
}

run "services_roll_and_go_back" {
  command = plan

  assert {
    condition = alltrue([
      for s in concat(values(aws_ecs_service.pool), [aws_ecs_service.dispatcher]) : s.desired_count == 0 && s.deployment_maximum_percent == 200 &&
      s.deployment_minimum_healthy_percent == 100 && s.deployment_circuit_breaker[0].enable && s.deployment_circuit_breaker[0].rollback
    ])
    error_message = "Services are made at 0 tasks, roll without a gap, and go back by themselves."
  }

  assert {
    condition     = alltrue([for s in values(aws_ecs_service.pool) : !s.network_configuration[0].assign_public_ip && length(s.load_balancer) == 0])
    error_message = "Workers have no public address, and nothing calls them."
  }

  assert {
    condition     = length(aws_ecs_service.dispatcher.load_balancer) == 2
    error_message = "The dispatcher stands behind both load balancers."
  }

  assert {
    condition = { for key, s in aws_ecs_service.pool : key => { for p in s.capacity_provider_strategy : p.capacity_provider => p.weight } } == {
      polars         = { FARGATE = 100 }
      python         = { FARGATE_SPOT = 100 }
      research-heavy = { FARGATE = 20, FARGATE_SPOT = 80 }
    }
    error_message = "A pool's spotPercent is its share of Spot."
  }

  assert {
    condition     = output.services["research-heavy"].image == null && output.services["polars"].image == "worker-polars"
    error_message = "A pool with its own image is deployed with that, the others with their runtime's."
  }
}

run "pools_scale_from_and_to_zero" {
  command = plan

  assert {
    condition     = aws_appautoscaling_target.pool["polars"].min_capacity == 0 && aws_appautoscaling_target.pool["polars"].max_capacity == 4
    error_message = "The bounds are those of the YAML."
  }

  assert {
    condition = alltrue([
      for p in values(aws_appautoscaling_policy.utilization) : p.target_tracking_scaling_policy_configuration[0].target_value == 1 &&
      p.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metric_name == "setpoint_pool_utilization"
    ])
    error_message = "Target tracking holds utilization at 1."
  }

  assert {
    condition = { for d in one(one(aws_appautoscaling_policy.utilization["research-heavy"].target_tracking_scaling_policy_configuration).customized_metric_specification).dimensions : d.name => d.value } == {
      env  = "test"
      pool = "research-heavy"
    }
    error_message = "The metric is the pool's own."
  }

  assert {
    condition     = alltrue([for p in values(aws_appautoscaling_policy.from_zero) : p.step_scaling_policy_configuration[0].adjustment_type == "ChangeInCapacity"])
    error_message = "The step out of zero adds one task, and never takes any."
  }

  assert {
    condition = alltrue([
      for key, a in aws_cloudwatch_metric_alarm.visible : a.treat_missing_data == "notBreaching" &&
      length([for q in a.metric_query : q if try(q.metric[0].dimensions["QueueName"], "") == var.queues[key].name]) == 2
    ])
    error_message = "Without a dispatcher the step looks at the pool's own queue, and silence is no work."
  }

  assert {
    condition = alltrue([
      for a in values(aws_cloudwatch_metric_alarm.demand) : toset(compact([for q in a.metric_query : try(q.metric[0].metric_name, "")])) == toset(["setpoint_pool_demand", "setpoint_pool_desired_tasks"])
    ])
    error_message = "With a dispatcher the step looks at demand and at what is wanted."
  }
}

run "roles_reach_what_their_part_reaches" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for statements in values(local.task_statements) : [
        for s in statements : alltrue([for action in s.Action : !strcontains(action, "*")]) &&
        (s.Sid == "ListTasks" || !contains(s.Resource, "*"))
      ]
    ]))
    error_message = "No action is a wildcard, and the one resource that must be is bounded by a condition."
  }

  assert {
    condition     = local.worker_statements["python"][1].Resource == ["arn:aws:secretsmanager:us-east-1:123456789012:secret:setpoint-test/pools/python-abcdef"]
    error_message = "User code reads its pool's token and no other secret."
  }

  assert {
    condition = local.worker_statements["polars"][1].Resource == [
      "arn:aws:secretsmanager:us-east-1:123456789012:secret:setpoint-test/pools/polars-abcdef",
      "arn:aws:secretsmanager:us-east-1:123456789012:secret:setpoint-test/tasks/*",
    ]
    error_message = "Polars workers read people's task secrets, and nothing of the control plane."
  }

  assert {
    condition     = contains(local.worker_statements["research-heavy"][1].Resource, "arn:aws:secretsmanager:us-east-1:123456789012:secret:research/key-??????")
    error_message = "A granted secret is readable."
  }

  assert {
    condition     = join(",", local.cold["polars"]) == "arn:aws:s3:::data/cold/*" && join(",", local.cold["research-heavy"]) == "arn:aws:s3:::data/cold/research/trips/*"
    error_message = "Ingest reaches the cold datasets that it is granted, and no others."
  }

  assert {
    condition     = alltrue([for key, statements in local.worker_statements : statements[0].Resource == [var.queues[key].arn]])
    error_message = "Workers receive from their own queue alone."
  }

  assert {
    condition     = length([for s in local.dispatcher_statements : s if anytrue([for a in s.Action : startswith(a, "application-autoscaling:") || a == "ecs:UpdateService"])]) == 0
    error_message = "The dispatcher does not scale services."
  }

  assert {
    condition     = contains(local.images["research-heavy"], "arn:aws:ecr:eu-west-1:210987654321:repository/team/heavy")
    error_message = "A pool's own image can be pulled."
  }
}

run "a_pool_cannot_take_the_platforms_names" {
  command = plan

  variables {
    pools = {
      dispatcher = { name = "dispatcher", namespace = "default", runtime = "python", slots = 1, min_tasks = 0, max_tasks = 1, spot_percent = 0, cpu = 256, memory = 512 }
    }
  }

  expect_failures = [var.pools]
}

run "tokens_pass_by_tls" {
  command = plan

  variables {
    api = { url = "http://dispatcher" }
  }

  expect_failures = [var.api]
}

run "a_grant_is_no_wildcard" {
  command = plan

  variables {
    pools = {
      python = { name = "python", namespace = "default", runtime = "python", slots = 1, min_tasks = 0, max_tasks = 1, spot_percent = 0, cpu = 256, memory = 512, grants = { secrets = ["*"] } }
    }
  }

  expect_failures = [var.pools]
}

run "control_secrets_cannot_be_granted" {
  command = plan

  variables {
    pools = {
      python = { name = "python", namespace = "default", runtime = "python", slots = 1, min_tasks = 0, max_tasks = 1, spot_percent = 0, cpu = 256, memory = 512, grants = { secrets = ["setpoint-test/admin-token"] } }
    }
  }

  expect_failures = [var.pools]
}

run "the_data_bucket_cannot_be_granted" {
  command = plan

  variables {
    pools = {
      python = { name = "python", namespace = "default", runtime = "python", slots = 1, min_tasks = 0, max_tasks = 1, spot_percent = 0, cpu = 256, memory = 512, grants = { buckets = ["setpoint-test-data-123456789012"] } }
    }
  }

  expect_failures = [var.pools]
}

run "a_granted_dataset_is_a_name" {
  command = plan

  variables {
    pools = {
      python = { name = "python", namespace = "default", runtime = "python", slots = 1, min_tasks = 0, max_tasks = 1, spot_percent = 0, cpu = 256, memory = 512, grants = { cold_datasets = ["../bundles"] } }
    }
  }

  expect_failures = [var.pools]
}

run "topics_of_notifiers_are_named" {
  command = plan

  variables {
    notifier_topic_arns = ["arn:aws:sns:eu-west-1:123456789012:*"]
  }

  expect_failures = [var.notifier_topic_arns]
}
