output "public_dns_name" {
  description = "The public load balancer's own name."
  value       = aws_lb.this["public"].dns_name
}

output "internal_name" {
  description = "The name by which workers and functions call the dispatcher."
  value       = local.internal_name
}

output "url" {
  description = "The URL for people: the domain, else the load balancer's own name, which no certificate covers (see internal_name)."
  value       = var.domain == null ? "https://${aws_lb.this["public"].dns_name}" : "https://${var.domain.name}"
}

output "internal_url" {
  description = "The URL for workers and functions."
  value       = "https://${local.internal_name}"
}

output "target_group_arns" {
  description = "The public and the internal target group, usable once their listeners exist: ECS refuses them before."
  value       = [for side in ["public", "internal"] : aws_lb_target_group.this[side].arn]

  depends_on = [aws_lb_listener.public, aws_lb_listener.internal, aws_lb_listener_rule.internal]
}

output "security_group_ids" {
  description = "Security groups of the public and the internal load balancer."
  value       = { for side, group in aws_security_group.this : side => group.id }
}

output "arn_suffixes" {
  description = "What CloudWatch calls the load balancers and their target groups."
  value = {
    for side in keys(local.sides) : side => {
      load_balancer = aws_lb.this[side].arn_suffix
      target_group  = aws_lb_target_group.this[side].arn_suffix
    }
  }
}
