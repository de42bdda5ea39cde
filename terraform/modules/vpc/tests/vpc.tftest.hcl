mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:/setpoint-dev/vpc-flow" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/setpoint-dev-vpc-flow" }
  }
  mock_resource "aws_vpc" {
    defaults = { cidr_block = "10.0.0.0/16" }
  }
}

variables {
  name = "setpoint-dev"
}

run "dev_is_two_zones_and_one_nat" {
  command = apply

  assert {
    condition     = length(aws_subnet.private) == 2 && length(aws_subnet.public) == 2
    error_message = "One private and one public subnet a zone."
  }

  assert {
    condition     = aws_subnet.private[*].availability_zone == ["eu-central-1a", "eu-central-1b"]
    error_message = "The subnets lie in the region's first zones."
  }

  assert {
    condition     = aws_subnet.private[*].cidr_block == ["10.0.0.0/18", "10.0.64.0/18"] && aws_subnet.public[*].cidr_block == ["10.0.192.0/20", "10.0.208.0/20"]
    error_message = "Private subnets take quarters and public ones sixteenths of the last quarter, so a third zone moves none."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_route.nat) == 2 && alltrue([for route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.this[0].id])
    error_message = "All private subnets leave through the one NAT gateway."
  }

  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["secretsmanager", "sqs"] && alltrue([for endpoint in aws_vpc_endpoint.interface : length(endpoint.subnet_ids) == 1])
    error_message = "SQS and Secrets Manager have an endpoint in one zone."
  }

  assert {
    condition     = length(aws_flow_log.this) == 0 && length(aws_iam_role.flow) == 0
    error_message = "No flow logs unless asked for."
  }

  assert {
    condition     = aws_vpc.this.enable_dns_hostnames && aws_vpc.this.enable_dns_support
    error_message = "Interface endpoints and the private zone need the VPC's DNS."
  }
}

run "prod_is_three_zones_with_a_nat_each" {
  command = apply

  variables {
    name                = "setpoint-prod"
    zones               = 3
    nat_per_zone        = true
    endpoint_zones      = 3
    interface_endpoints = ["ecr.api", "ecr.dkr", "ecs", "kms", "lambda", "logs", "monitoring", "secretsmanager", "sqs", "sts", "xray"]
    flow_logs           = true
    log_retention_days  = 365
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_eip.nat) == 3
    error_message = "One NAT gateway a zone."
  }

  assert {
    condition     = [for index in range(3) : aws_route.nat[index].nat_gateway_id] == aws_nat_gateway.this[*].id
    error_message = "Each zone leaves through its own NAT gateway."
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 11 && alltrue([for endpoint in aws_vpc_endpoint.interface : length(endpoint.subnet_ids) == 3 && endpoint.private_dns_enabled])
    error_message = "Every endpoint has an address in every zone and answers under the service's own name."
  }

  assert {
    condition     = aws_flow_log.this[0].traffic_type == "ALL" && aws_cloudwatch_log_group.flow[0].name == "/setpoint-prod/vpc-flow" && aws_cloudwatch_log_group.flow[0].retention_in_days == 365
    error_message = "All traffic is logged, with a retention."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.flow[0].policy).Statement[0].Resource == ["${aws_cloudwatch_log_group.flow[0].arn}:*"]
    error_message = "The flow logs' role writes to its own log group alone."
  }
}

run "closed_by_default" {
  command = apply

  assert {
    condition     = length(aws_default_security_group.closed.ingress) == 0 && length(aws_default_security_group.closed.egress) == 0
    error_message = "The default security group has no rule."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch == false])
    error_message = "Nothing gets a public address by being started in a public subnet."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints.cidr_ipv4 == "10.0.0.0/16" && aws_vpc_security_group_ingress_rule.endpoints.from_port == 443 && aws_vpc_security_group_ingress_rule.endpoints.to_port == 443
    error_message = "The endpoints take HTTPS from the VPC alone."
  }
}

run "the_s3_endpoint_admits_our_buckets_and_ecrs_layers" {
  command = apply

  variables {
    s3_accounts = ["444455556666"]
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && length(aws_vpc_endpoint.s3.route_table_ids) == 2 && aws_vpc_endpoint.s3.service_name == "com.amazonaws.eu-central-1.s3"
    error_message = "Every private subnet reaches S3 through the gateway endpoint."
  }

  assert {
    condition     = jsondecode(aws_vpc_endpoint.s3.policy).Statement[0].Condition.StringEquals["aws:ResourceAccount"] == ["111122223333", "444455556666"]
    error_message = "Only buckets of the account and of those named are reached."
  }

  assert {
    condition     = jsondecode(aws_vpc_endpoint.s3.policy).Statement[1].Resource == ["arn:aws:s3:::prod-eu-central-1-starport-layer-bucket/*"] && jsondecode(aws_vpc_endpoint.s3.policy).Statement[1].Action == ["s3:GetObject"]
    error_message = "Images are pulled through the endpoint, so ECR's layer bucket of the region is admitted, for reading."
  }

  assert {
    condition     = !strcontains(jsonencode(flatten(jsondecode(aws_vpc_endpoint.s3.policy).Statement[*].Action)), "*")
    error_message = "The S3 endpoint admits named actions."
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : jsondecode(endpoint.policy).Statement[0].Condition.StringEquals["aws:PrincipalAccount"] == "111122223333"])
    error_message = "Interface endpoints serve callers of the account alone."
  }
}

run "zones_can_be_pinned" {
  command = plan

  variables {
    zone_names = ["eu-central-1c", "eu-central-1a"]
  }

  assert {
    condition     = aws_subnet.private[*].availability_zone == ["eu-central-1c", "eu-central-1a"] && output.zone_names == tolist(["eu-central-1c", "eu-central-1a"])
    error_message = "zone_names decides."
  }
}

run "refuses_a_bad_name" {
  command = plan
  variables {
    name = "Setpoint_dev"
  }
  expect_failures = [var.name]
}

run "refuses_a_range_without_room" {
  command = plan
  variables {
    cidr = "10.0.0.0/24"
  }
  expect_failures = [var.cidr]
}

run "refuses_one_zone" {
  command = plan
  variables {
    zones = 1
  }
  # One zone also breaks what is compared with zones, but the plan stops at the first.
  expect_failures = [var.zones]
}

run "refuses_names_for_another_number_of_zones" {
  command = plan
  variables {
    zone_names = ["eu-central-1a"]
  }
  expect_failures = [var.zone_names]
}

run "refuses_an_endpoint_that_nothing_calls" {
  command = plan
  variables {
    interface_endpoints = ["sqs", "dynamodb"]
  }
  expect_failures = [var.interface_endpoints]
}

run "refuses_half_of_ecr" {
  command = plan
  variables {
    interface_endpoints = ["ecr.api"]
  }
  expect_failures = [var.interface_endpoints]
}

run "refuses_endpoints_in_more_zones_than_there_are" {
  command = plan
  variables {
    endpoint_zones = 3
  }
  expect_failures = [var.endpoint_zones]
}

run "refuses_an_account_that_is_none" {
  command = plan
  variables {
    s3_accounts = ["1234"]
  }
  expect_failures = [var.s3_accounts]
}

run "refuses_a_retention_that_cloudwatch_does_not_know" {
  command = plan
  variables {
    log_retention_days = 42
  }
  expect_failures = [var.log_retention_days]
}

run "refuses_a_reserved_tag" {
  command = plan
  variables {
    tags = { "aws:owner" = "us" }
  }
  expect_failures = [var.tags]
}
