# Two load balancers in front of one service: people come by the public one, workers and functions by the internal one.

locals {
  public_zone   = var.domain == null ? null : "internal.${var.domain.name}"
  internal_zone = coalesce(var.internal_zone, local.public_zone, "${var.name}.internal")
  internal_name = "dispatcher.${local.internal_zone}"

  certificate_arn = var.certificate_arn == null ? aws_acm_certificate_validation.this[0].certificate_arn : var.certificate_arn
  tls_policy      = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  # The dispatcher keeps idle connections for 75 s, longer than this, so that it never closes one that is about to be used.
  idle_seconds = 60

  sides = {
    public   = { subnets = var.public_subnet_ids, internal = false }
    internal = { subnets = var.private_subnet_ids, internal = true }
  }
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:Requests are logged where access_logs says so (prod); the internal side's requests are the dispatcher's own log
  #checkov:skip=CKV_AWS_150:Deletion protection is a variable; it is off where the whole environment may be destroyed (dev)
  #checkov:skip=CKV2_AWS_28:A web ACL is the owner's choice, by web_acl_arn; every request carries a token, and the worker protocol is not public
  #checkov:skip=CKV2_AWS_20:The public side redirects port 80; the internal side does not listen on it
  for_each = local.sides

  name                       = "${var.name}-${each.key}"
  load_balancer_type         = "application"
  internal                   = each.value.internal
  subnets                    = each.value.subnets
  security_groups            = [aws_security_group.this[each.key].id]
  idle_timeout               = local.idle_seconds
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
  tags                       = var.tags

  dynamic "access_logs" {
    for_each = var.access_logs && each.key == "public" ? aws_s3_bucket.logs[*].id : []

    content {
      bucket  = access_logs.value
      enabled = true
    }
  }

  # The load balancer tries to write when it is made.
  depends_on = [aws_s3_bucket_policy.logs]
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; from there to a dispatcher requests stay in private subnets between two security groups
  for_each = local.sides

  name                 = "${var.name}-${each.key}"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = var.container_port
  deregistration_delay = 30
  tags                 = var.tags

  # Does not touch the database: else a failover would have every dispatcher replaced.
  health_check {
    path                = "/healthz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_wafv2_web_acl_association" "public" {
  count = var.web_acl_arn == null ? 0 : 1

  resource_arn = aws_lb.this["public"].arn
  web_acl_arn  = var.web_acl_arn
}
