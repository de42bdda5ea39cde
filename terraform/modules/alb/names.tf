# The internal load balancer's name, which the certificate covers, lies in a private zone of the VPC.
resource "aws_route53_zone" "internal" {
  #checkov:skip=CKV2_AWS_38:DNSSEC signs public zones; this one is private
  #checkov:skip=CKV2_AWS_39:Query logs are for public zones; this one is private
  name    = local.internal_zone
  comment = "Setpoint: the dispatcher as workers and functions call it"
  tags    = var.tags

  vpc {
    vpc_id = var.vpc_id
  }
}

resource "aws_route53_record" "internal" {
  zone_id = aws_route53_zone.internal.zone_id
  name    = local.internal_name
  type    = "A"

  alias {
    name                   = aws_lb.this["internal"].dns_name
    zone_id                = aws_lb.this["internal"].zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "public" {
  count = var.domain == null ? 0 : 1

  zone_id = var.domain.zone_id
  name    = var.domain.name
  type    = "A"

  alias {
    name                   = aws_lb.this["public"].dns_name
    zone_id                = aws_lb.this["public"].zone_id
    evaluate_target_health = false
  }
}

# With a domain, one public certificate covers both names, so that nobody has to trust an authority of our own.
resource "aws_acm_certificate" "this" {
  count = var.domain == null ? 0 : 1

  domain_name               = var.domain.name
  subject_alternative_names = [local.internal_name]
  validation_method         = "DNS"
  tags                      = var.tags

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = endswith(local.internal_name, ".${var.domain.name}")
      error_message = "The certificate is validated in the domain's zone, so internal_zone must end with .${var.domain.name}."
    }
  }
}

resource "aws_route53_record" "validation" {
  for_each = var.domain == null ? toset([]) : toset([var.domain.name, local.internal_name])

  zone_id         = var.domain.zone_id
  allow_overwrite = true
  ttl             = 300
  name            = one([for o in aws_acm_certificate.this[0].domain_validation_options : o.resource_record_name if o.domain_name == each.key])
  type            = one([for o in aws_acm_certificate.this[0].domain_validation_options : o.resource_record_type if o.domain_name == each.key])
  records         = [for o in aws_acm_certificate.this[0].domain_validation_options : o.resource_record_value if o.domain_name == each.key]
}

resource "aws_acm_certificate_validation" "this" {
  count = var.domain == null ? 0 : 1

  certificate_arn         = aws_acm_certificate.this[0].arn
  validation_record_fqdns = [for record in aws_route53_record.validation : record.fqdn]
}
