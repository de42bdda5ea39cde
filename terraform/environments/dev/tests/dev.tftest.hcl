mock_provider "aws" {
  source = "../../mocks"
}

variables {
  dags_dir        = "../../modules/manifests/tests/dags/good"
  lambda_zips     = "../../modules/lambda/tests/zips"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
}

run "a_deployment_learns_what_it_needs" {
  command = plan

  assert {
    condition     = output.deployment.name == "setpoint-dev" && output.deployment.environment == "dev" && output.deployment.account == "123456789012"
    error_message = "The environment says who it is."
  }

  assert {
    condition     = join(",", keys(output.deployment.services)) == "dispatcher,polars,research-heavy" && output.deployment.services["research-heavy"].image == "worker-python"
    error_message = "There is a service for the dispatcher and for each pool, with its image."
  }

  assert {
    condition     = output.deployment.api_server_name == "dispatcher.setpoint-dev.internal" && output.deployment.dispatcher_tasks == 1
    error_message = "Without a domain, the certificate is checked against the internal name."
  }

  assert {
    condition     = join(",", keys(output.deployment.repositories)) == "dispatcher,worker-ingest,worker-polars,worker-python"
    error_message = "Each image has its repository."
  }
}

run "yaml_is_what_is_provisioned" {
  command = plan

  assert {
    condition     = local.secret_names == toset([for s in ["admin-token", "events-token", "signing-key", "pools/lambda", "pools/polars", "pools/heavy", "webhooks/shop"] : "setpoint-dev/${s}"])
    error_message = "Each pool and each webhook prefix has its secret."
  }

  assert {
    # polars 4 × 2, heavy 8 × 4, and twice the dispatcher's 12 + 4.
    condition     = local.connections_wanted == 8 + 32 + 32
    error_message = "Connections are counted as slots of all tasks and of dispatchers in a rolling deployment."
  }

  assert {
    condition     = join(",", keys(output.schedules.rules)) == "default/orders/default" && join(",", output.schedules.ticked) == "default/orders/berlin"
    error_message = "A schedule in UTC has a rule; one with a clock of its own rides the tick."
  }

  assert {
    condition     = local.operator.pool == "lambda" && local.operator.concurrency == null
    error_message = "The operator serves the lambda pool, without reserving concurrency in dev."
  }
}

run "a_vpc_and_a_database_of_ones_own" {
  command = plan

  variables {
    vpc = {
      id                 = "vpc-0own"
      cidr               = "172.20.0.0/16"
      public_subnet_ids  = ["subnet-01", "subnet-02"]
      private_subnet_ids = ["subnet-03", "subnet-04"]
    }

    database = {
      host              = "own.example"
      resource_id       = "db-OWN"
      master_secret_arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:own-abcdef"
    }
  }

  assert {
    condition     = length(module.vpc) == 0 && length(module.rds) == 0
    error_message = "What is brought is not made."
  }

  assert {
    condition     = output.deployment.database.host == "own.example" && join(",", output.deployment.private_subnets) == "subnet-03,subnet-04"
    error_message = "What is brought is used."
  }
}

run "a_domain_needs_no_authority" {
  command = plan

  variables {
    certificate_arn = null
    domain          = { name = "setpoint.example.com", zone_id = "Z0123456789" }
  }

  override_resource {
    target          = module.alb.aws_acm_certificate.this
    override_during = plan
    values = {
      arn = "arn:aws:acm:us-east-1:123456789012:certificate/1"
      domain_validation_options = [
        { domain_name = "setpoint.example.com", resource_record_name = "_a", resource_record_type = "CNAME", resource_record_value = "_b" },
        { domain_name = "dispatcher.internal.setpoint.example.com", resource_record_name = "_c", resource_record_type = "CNAME", resource_record_value = "_d" },
      ]
    }
  }

  assert {
    condition     = output.deployment.api_url == "https://setpoint.example.com" && output.deployment.api_server_name == "setpoint.example.com"
    error_message = "People call the domain."
  }
}

run "never_without_tls" {
  command = plan

  variables {
    certificate_arn = null
  }

  expect_failures = [var.certificate_arn]
}

run "never_without_pools" {
  command = plan

  variables {
    dags_dir = "./tests/nowhere"
  }

  expect_failures = [var.dags_dir]
}
