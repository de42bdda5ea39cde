resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:Each is attached to the load balancer of its side, which a static look at for_each does not see
  for_each = {
    public   = "Setpoint, public load balancer: HTTPS from people"
    internal = "Setpoint, internal load balancer: HTTPS from workers and functions"
  }

  name                   = "${var.name}-alb-${each.key}"
  description            = each.value
  vpc_id                 = var.vpc_id
  revoke_rules_on_delete = true
  tags                   = merge(var.tags, { Name = "${var.name}-alb-${each.key}" })
}

resource "aws_vpc_security_group_ingress_rule" "public" {
  #checkov:skip=CKV_AWS_260:Port 80 only redirects to 443; public_cidrs narrows who may call
  for_each = { for pair in setproduct(var.public_cidrs, [80, 443]) : "${pair[0]}:${pair[1]}" => { cidr = pair[0], port = pair[1] } }

  security_group_id = aws_security_group.this["public"].id
  description       = each.value.port == 443 ? "People" : "People, to be redirected to HTTPS"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  tags              = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "internal" {
  for_each = var.internal_client_security_group_ids

  security_group_id            = aws_security_group.this["internal"].id
  referenced_security_group_id = each.value
  description                  = "From ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = var.tags
}

resource "aws_vpc_security_group_egress_rule" "dispatcher" {
  for_each = aws_security_group.this

  security_group_id            = each.value.id
  referenced_security_group_id = var.dispatcher_security_group_id
  description                  = "To the dispatchers"
  ip_protocol                  = "tcp"
  from_port                    = var.container_port
  to_port                      = var.container_port
  tags                         = var.tags
}
