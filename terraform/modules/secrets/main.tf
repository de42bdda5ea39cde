data "aws_partition" "this" {}

data "aws_caller_identity" "this" {}

resource "aws_kms_key" "this" {
  description             = "Secrets of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_deletion_days

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # Without it nobody could mend the key's policy; who of the account may use the key is then said by IAM alone.
      Sid       = "AccountAdministers"
      Effect    = "Allow"
      Principal = { AWS = "arn:${data.aws_partition.this.partition}:iam::${data.aws_caller_identity.this.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })

  tags = merge(var.tags, { Name = "${var.name}-secrets" })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-secrets"
  target_key_id = aws_kms_key.this.key_id
}

# Without a version: what has no value yet is drawn by the migrate task, and a rotation is a new version of it. Readers take
# AWSCURRENT and AWSPREVIOUS and look again every five minutes, so a rotation needs no deployment.
resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:a token is rotated by putting a new version, as both of its last two are accepted; a rotation function would need rights over all of them
  for_each = var.names

  name                    = each.key
  description             = "Part of ${var.name}; its value is drawn by the migrate task"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.recovery_days

  tags = merge(var.tags, { Name = each.key })
}
