locals {
  # An endpoint policy opens nothing: what a caller may do is in its role. It bounds where data may go,
  # so a task with stolen credentials of another account cannot carry data out through the endpoint.
  s3_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "BucketsOfTheAccount"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action = [
          "s3:AbortMultipartUpload",
          "s3:DeleteObject",
          "s3:DeleteObjectVersion",
          "s3:GetBucketLocation",
          "s3:GetObject",
          "s3:GetObjectAttributes",
          "s3:GetObjectTagging",
          "s3:GetObjectVersion",
          "s3:ListBucket",
          "s3:ListBucketMultipartUploads",
          "s3:ListBucketVersions",
          "s3:ListMultipartUploadParts",
          "s3:PutObject",
          "s3:PutObjectTagging",
          "s3:RestoreObject",
        ]
        # Every bucket, as long as the account below owns it: pools' grants name buckets that this module does not know.
        Resource = "*"
        Condition = {
          StringEquals = { "aws:ResourceAccount" = concat([data.aws_caller_identity.this.account_id], var.s3_accounts) }
        }
      },
      {
        # ECR keeps layers in a bucket of its own account, so without this no image can be pulled.
        # https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html#ecr-minimum-s3-perms
        Sid       = "LayersOfEcr"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["s3:GetObject"]
        Resource  = ["arn:${data.aws_partition.this.partition}:s3:::prod-${local.region}-starport-layer-bucket/*"]
      },
    ]
  }

  interface_policy = {
    Version = "2012-10-17"
    Statement = [{
      Sid       = "PrincipalsOfTheAccount"
      Effect    = "Allow"
      Principal = { AWS = "*" }
      # Everything of the one service, as long as the caller is of this account: the roles say what each may do.
      Action   = "*"
      Resource = "*"
      Condition = {
        StringEquals = { "aws:PrincipalAccount" = data.aws_caller_identity.this.account_id }
      }
    }]
  }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = aws_route_table.private[*].id
  policy            = jsonencode(local.s3_policy)

  tags = merge(var.tags, { Name = "${var.name}-s3" })
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Interface endpoints of ${var.name}"
  vpc_id      = aws_vpc.this.id

  tags = merge(var.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from the VPC"
  cidr_ipv4         = aws_vpc.this.cidr_block
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443

  tags = var.tags
}

resource "aws_vpc_endpoint" "interface" {
  for_each = toset(var.interface_endpoints)

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = slice(aws_subnet.private[*].id, 0, var.endpoint_zones)
  security_group_ids  = [aws_security_group.endpoints.id]
  policy              = jsonencode(local.interface_policy)

  tags = merge(var.tags, { Name = "${var.name}-${each.key}" })
}
