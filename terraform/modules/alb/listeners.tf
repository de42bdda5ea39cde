locals {
  # What people use of /v1: `setpoint apply` uploads and asks for code bundles there.
  public_paths = ["/v1/bundles/*"]
  # The worker protocol and the numbers are not for the public.
  hidden_paths   = ["/v1", "/v1/*", "/metrics"]
  internal_paths = ["/v1/*", "/healthz"]
}

resource "aws_lb_listener" "public" {
  load_balancer_arn = aws_lb.this["public"].arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = local.tls_policy
  certificate_arn   = local.certificate_arn
  tags              = var.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["public"].arn
  }
}

resource "aws_lb_listener" "redirect" {
  load_balancer_arn = aws_lb.this["public"].arn
  protocol          = "HTTP"
  port              = 80
  tags              = var.tags

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener_rule" "public" {
  listener_arn = aws_lb_listener.public.arn
  priority     = 10
  tags         = merge(var.tags, { Name = "bundles" })

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["public"].arn
  }

  condition {
    path_pattern {
      values = local.public_paths
    }
  }
}

resource "aws_lb_listener_rule" "hidden" {
  listener_arn = aws_lb_listener.public.arn
  priority     = 20
  tags         = merge(var.tags, { Name = "not-public" })

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "application/json"
      message_body = jsonencode({ message = "not found" })
      status_code  = "404"
    }
  }

  condition {
    path_pattern {
      values = local.hidden_paths
    }
  }
}

resource "aws_lb_listener" "internal" {
  load_balancer_arn = aws_lb.this["internal"].arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = local.tls_policy
  certificate_arn   = local.certificate_arn
  tags              = var.tags

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "application/json"
      message_body = jsonencode({ message = "not found" })
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener_rule" "internal" {
  listener_arn = aws_lb_listener.internal.arn
  priority     = 10
  tags         = merge(var.tags, { Name = "protocol" })

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["internal"].arn
  }

  condition {
    path_pattern {
      values = local.internal_paths
    }
  }
}
