locals {
  security_groups = {
    dispatcher = "Setpoint dispatchers: requests come from the load balancers alone"
    worker     = "Setpoint workers: nothing reaches them"
    migrate    = "Setpoint migrations: nothing reaches them"
  }

  # AWS's addresses are many and change, so 443 is open; what a role may do there is in reach.tf.
  anywhere      = "0.0.0.0/0"
  database_cidr = coalesce(var.database.cidr, var.network.vpc_cidr)

  egress = merge(
    {
      for group in keys(local.security_groups) : "${group}-database" => {
        group = group
        port  = var.database.port
        cidr  = local.database_cidr
        why   = "The database"
      }
    },
    {
      for group in ["dispatcher", "migrate"] : "${group}-aws" => {
        group = group
        port  = 443
        cidr  = local.anywhere
        why   = "AWS, by endpoints or NAT"
      }
    },
    {
      # Mail of notifiers: implicit TLS and STARTTLS. Webhooks go by 443, which is open for AWS.
      for port in [465, 587] : "dispatcher-mail-${port}" => {
        group = "dispatcher"
        port  = port
        cidr  = local.anywhere
        why   = "Mail servers of notifiers"
      }
    },
    {
      for port in var.worker_egress_ports : "worker-${port}" => {
        group = "worker"
        port  = port
        cidr  = local.anywhere
        why   = "AWS, the dispatcher, and what tasks read"
      }
    },
  )
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:They are attached to the services, and to one-off tasks when these are started
  for_each = local.security_groups

  name                   = "${var.name}-${each.key}"
  description            = each.value
  vpc_id                 = var.network.vpc_id
  revoke_rules_on_delete = true
  tags                   = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_vpc_security_group_ingress_rule" "dispatcher" {
  for_each = var.load_balancers.security_group_ids

  security_group_id            = aws_security_group.this["dispatcher"].id
  referenced_security_group_id = each.value
  description                  = "From the ${each.key} load balancer"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  tags                         = var.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.egress

  security_group_id = aws_security_group.this[each.value.group].id
  description       = each.value.why
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  tags              = var.tags
}
