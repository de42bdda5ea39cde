mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/setpoint-dev-rds-monitoring" }
  }
  mock_resource "aws_db_instance" {
    defaults = {
      address            = "setpoint-dev.abc.eu-central-1.rds.amazonaws.com"
      resource_id        = "db-ABC"
      master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!db-1", kms_key_id = "k", secret_status = "active" }]
    }
  }
}

variables {
  name                      = "setpoint-dev"
  vpc_id                    = "vpc-1"
  subnet_ids                = ["subnet-1", "subnet-2"]
  client_security_group_ids = { dispatcher = "sg-dispatcher", migrate = "sg-migrate", worker = "sg-worker" }
  connections_wanted        = 60
}

run "encrypted_private_and_by_tls_alone" {
  command = apply

  assert {
    condition     = aws_db_instance.this.engine == "postgres" && aws_db_instance.this.engine_version == "15" && aws_db_parameter_group.this.family == "postgres15"
    error_message = "Postgres 15."
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.kms_key_id == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "The storage is encrypted with the module's own, rotated key."
  }

  assert {
    condition     = aws_db_instance.this.publicly_accessible == false
    error_message = "The database has no public address."
  }

  assert {
    condition     = one([for parameter in aws_db_parameter_group.this.parameter : parameter.value if parameter.name == "rds.force_ssl"]) == "1" && aws_db_instance.this.parameter_group_name == aws_db_parameter_group.this.name
    error_message = "The database refuses connections without TLS."
  }

  assert {
    condition     = one([for parameter in aws_db_parameter_group.this.parameter : parameter.value if parameter.name == "log_parameter_max_length"]) == "0"
    error_message = "The log holds no values of parameters."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Principal == { AWS = "arn:aws:iam::111122223333:root" }])
    error_message = "The key admits the account alone, where IAM says who."
  }
}

run "logins_by_iam_and_a_managed_master_secret" {
  command = apply

  assert {
    condition     = aws_db_instance.this.iam_database_authentication_enabled
    error_message = "The system's logins are by IAM."
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null && aws_db_instance.this.master_user_secret_kms_key_id == aws_kms_key.this.arn
    error_message = "RDS keeps the master password, Terraform never has it."
  }

  assert {
    condition     = output.master_secret_arn == "arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!db-1" && output.resource_id == "db-ABC" && output.endpoint == "setpoint-dev.abc.eu-central-1.rds.amazonaws.com" && output.port == 5432
    error_message = "What the roles and the DSN are made of is given out."
  }
}

run "admits_only_the_given_groups" {
  command = apply

  assert {
    condition     = tomap({ for key, rule in aws_vpc_security_group_ingress_rule.client : key => rule.referenced_security_group_id }) == var.client_security_group_ids
    error_message = "One rule a client, and no other."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.client : rule.from_port == 5432 && rule.to_port == 5432 && rule.ip_protocol == "tcp" && rule.cidr_ipv4 == null])
    error_message = "Only Postgres's port, never by address."
  }
}

run "safe_unless_told_otherwise" {
  command = apply

  assert {
    condition     = aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.final_snapshot_identifier == "setpoint-dev-final" && !aws_db_instance.this.delete_automated_backups
    error_message = "Protected, with a final snapshot and backups that outlive it."
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period == 7 && aws_db_instance.this.max_allocated_storage > aws_db_instance.this.allocated_storage
    error_message = "Point-in-time recovery and growing storage are on."
  }

  assert {
    condition     = toset([for group in aws_cloudwatch_log_group.this : group.name]) == toset(["/aws/rds/instance/setpoint-dev/postgresql", "/aws/rds/instance/setpoint-dev/upgrade"])
    error_message = "The log groups that RDS writes to are ours, so that they have a retention."
  }
}

run "dev_can_be_destroyed_whole" {
  command = apply

  variables {
    deletion_protection = false
    final_snapshot      = false
    backup_days         = 1
  }

  assert {
    condition     = !aws_db_instance.this.deletion_protection && aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.final_snapshot_identifier == null && aws_db_instance.this.delete_automated_backups
    error_message = "Nothing is left of it."
  }

  assert {
    condition     = !aws_db_instance.this.multi_az && length(aws_iam_role.monitoring) == 0 && !aws_db_instance.this.performance_insights_enabled
    error_message = "dev pays for no standby, no enhanced monitoring and no insights."
  }
}

run "prod_has_a_standby_and_insights" {
  command = apply

  variables {
    name                 = "setpoint-prod"
    instance_class       = "db.m7g.large"
    multi_az             = true
    backup_days          = 14
    performance_insights = true
    monitoring_interval  = 60
    ca_cert_identifier   = "rds-ca-rsa2048-g1"
    connections_wanted   = 600
  }

  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.backup_retention_period == 14 && aws_db_instance.this.ca_cert_identifier == "rds-ca-rsa2048-g1"
    error_message = "A standby, two weeks of recovery, a chosen authority."
  }

  assert {
    condition     = aws_db_instance.this.performance_insights_enabled && aws_db_instance.this.performance_insights_kms_key_id == aws_kms_key.this.arn && aws_db_instance.this.performance_insights_retention_period == 7
    error_message = "Insights are encrypted with the module's key and kept for the free week."
  }

  assert {
    condition     = aws_db_instance.this.monitoring_interval == 60 && aws_db_instance.this.monitoring_role_arn == aws_iam_role.monitoring[0].arn && aws_iam_role_policy_attachment.monitoring[0].policy_arn == "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    error_message = "Enhanced monitoring has its role."
  }
}

run "connections_follow_the_memory" {
  command = plan

  variables {
    instance_class     = "db.r7g.16xlarge"
    connections_wanted = 4000
  }

  assert {
    condition     = output.max_connections == 5000
    error_message = "RDS's formula ends at 5000."
  }
}

run "connections_of_a_small_class" {
  command = plan

  assert {
    condition     = output.max_connections == 187
    error_message = "floor((2 - 0.25) GiB * 0.95 / 9531392)."
  }
}

run "max_connections_may_be_given" {
  command = apply

  variables {
    instance_class     = "db.x2g.large"
    max_connections    = 400
    connections_wanted = 320
  }

  assert {
    condition     = output.max_connections == 400 && one([for parameter in aws_db_parameter_group.this.parameter : parameter.value if parameter.name == "max_connections"]) == "400"
    error_message = "What is given is the database's own setting."
  }
}

run "refuses_more_connections_than_the_database_takes" {
  command = plan
  variables {
    connections_wanted = 150
  }
  expect_failures = [aws_db_instance.this]
}

run "refuses_one_more_than_four_fifths" {
  command = plan
  variables {
    max_connections    = 400
    connections_wanted = 321
  }
  expect_failures = [aws_db_instance.this]
}

run "refuses_a_class_it_does_not_know" {
  command = plan
  variables {
    instance_class = "db.x2g.large"
  }
  expect_failures = [aws_db_instance.this]
}

run "refuses_protection_without_a_snapshot" {
  command = plan
  variables {
    final_snapshot = false
  }
  expect_failures = [var.final_snapshot]
}

run "refuses_to_switch_recovery_off" {
  command = plan
  variables {
    backup_days = 0
  }
  expect_failures = [var.backup_days]
}

run "refuses_one_subnet" {
  command = plan
  variables {
    subnet_ids = ["subnet-1", "subnet-1"]
  }
  expect_failures = [var.subnet_ids]
}

run "refuses_a_database_that_nobody_may_reach" {
  command = plan
  variables {
    client_security_group_ids = {}
  }
  expect_failures = [var.client_security_group_ids]
}

run "refuses_no_room_to_grow" {
  command = plan
  variables {
    allocated_storage_gib = 100
    max_storage_gib       = 100
  }
  expect_failures = [var.max_storage_gib]
}

run "refuses_an_authority_that_is_none" {
  command = plan
  variables {
    ca_cert_identifier = "rds-ca-2019"
  }
  expect_failures = [var.ca_cert_identifier]
}

run "refuses_a_master_that_is_one_of_the_logins" {
  command = plan
  variables {
    master_username = "setpoint_dispatcher"
  }
  expect_failures = [var.master_username]
}

run "refuses_other_bad_words" {
  command = plan
  variables {
    vpc_id              = "subnet-1"
    instance_class      = "t4g.small"
    database_name       = "Setpoint"
    backup_window       = "3-4"
    maintenance_window  = "sunday"
    monitoring_interval = 7
    kms_deletion_days   = 3
    log_retention_days  = 42
  }
  expect_failures = [
    var.vpc_id, var.instance_class, var.database_name, var.backup_window,
    var.maintenance_window, var.monitoring_interval, var.kms_deletion_days, var.log_retention_days,
  ]
}
