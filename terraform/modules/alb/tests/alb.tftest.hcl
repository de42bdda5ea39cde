mock_provider "aws" {
  source = "../../mocks"
}

variables {
  name                               = "setpoint-test"
  vpc_id                             = "vpc-1"
  public_subnet_ids                  = ["subnet-1", "subnet-2"]
  private_subnet_ids                 = ["subnet-3", "subnet-4"]
  dispatcher_security_group_id       = "sg-dispatcher"
  internal_client_security_group_ids = { worker = "sg-worker", lambda = "sg-lambda" }
  certificate_arn                    = "arn:aws:acm:us-east-1:123456789012:certificate/1"
}

run "two_sides" {
  command = plan

  assert {
    condition     = !aws_lb.this["public"].internal && aws_lb.this["internal"].internal
    error_message = "One load balancer faces the internet, the other does not."
  }

  assert {
    condition     = alltrue([for lb in values(aws_lb.this) : lb.idle_timeout == 60 && lb.drop_invalid_header_fields && lb.enable_deletion_protection])
    error_message = "Idle connections end before the dispatcher's 75 s, and invalid headers are dropped."
  }

  assert {
    condition     = alltrue([for l in [aws_lb_listener.public, aws_lb_listener.internal] : l.protocol == "HTTPS" && l.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06" && l.certificate_arn == var.certificate_arn])
    error_message = "Both sides speak TLS 1.2 or newer."
  }

  assert {
    condition     = aws_lb_listener.redirect.default_action[0].redirect[0].protocol == "HTTPS" && aws_lb_listener.redirect.default_action[0].redirect[0].status_code == "HTTP_301"
    error_message = "Plain HTTP is redirected."
  }

  assert {
    condition     = alltrue([for g in values(aws_lb_target_group.this) : g.health_check[0].path == "/healthz" && g.port == 8080 && g.target_type == "ip"])
    error_message = "Health is /healthz of port 8080."
  }
}

run "the_worker_protocol_is_not_public" {
  command = plan

  assert {
    condition     = aws_lb_listener_rule.hidden.action[0].fixed_response[0].status_code == "404" && one(one(aws_lb_listener_rule.hidden.condition).path_pattern).values == toset(["/v1", "/v1/*", "/metrics"])
    error_message = "The public side answers 404 for the worker protocol and the numbers."
  }

  assert {
    condition     = one(one(aws_lb_listener_rule.public.condition).path_pattern).values == toset(["/v1/bundles/*"]) && aws_lb_listener_rule.public.priority < aws_lb_listener_rule.hidden.priority
    error_message = "Code bundles are uploaded by the public side."
  }

  assert {
    condition     = aws_lb_listener.internal.default_action[0].type == "fixed-response" && one(one(aws_lb_listener_rule.internal.condition).path_pattern).values == toset(["/v1/*", "/healthz"])
    error_message = "The internal side serves the worker protocol and no more."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.internal) == 2
    error_message = "Only workers and functions call the internal side."
  }
}

run "named_within_the_vpc" {
  command = plan

  assert {
    condition     = output.internal_url == "https://dispatcher.setpoint-test.internal" && aws_route53_zone.internal.name == "setpoint-test.internal"
    error_message = "Workers call dispatcher.<name>.internal."
  }

  assert {
    condition     = length(aws_s3_bucket.logs) == 0 && length(aws_acm_certificate.this) == 0
    error_message = "No logs and no certificate unless asked for."
  }
}

run "a_domain_brings_a_certificate_for_both_names" {
  command = plan

  variables {
    certificate_arn = null
    domain          = { name = "setpoint.example.com", zone_id = "Z0123456789" }
  }

  override_resource {
    target          = aws_acm_certificate.this
    override_during = plan
    values = {
      arn = "arn:aws:acm:us-east-1:123456789012:certificate/2"
      domain_validation_options = [
        { domain_name = "setpoint.example.com", resource_record_name = "_a", resource_record_type = "CNAME", resource_record_value = "_b" },
        { domain_name = "dispatcher.internal.setpoint.example.com", resource_record_name = "_c", resource_record_type = "CNAME", resource_record_value = "_d" },
      ]
    }
  }

  assert {
    condition     = aws_acm_certificate.this[0].subject_alternative_names == toset(["dispatcher.internal.setpoint.example.com"])
    error_message = "Systems trust the certificate of both names."
  }

  assert {
    condition     = output.url == "https://setpoint.example.com" && output.internal_url == "https://dispatcher.internal.setpoint.example.com"
    error_message = "Both URLs lie in the domain."
  }
}

run "access_logs_lie_in_a_closed_bucket" {
  command = plan

  variables {
    access_logs = true
  }

  assert {
    condition     = aws_s3_bucket.logs[0].bucket == "setpoint-test-alb-logs-123456789012" && one(one(aws_s3_bucket_server_side_encryption_configuration.logs[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Load balancers write only to a bucket that S3 encrypts."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.logs[0].restrict_public_buckets && aws_s3_bucket_public_access_block.logs[0].block_public_policy
    error_message = "The bucket is not public."
  }
}

run "never_plain_http" {
  command = plan

  variables {
    certificate_arn = null
  }

  expect_failures = [var.certificate_arn]
}
