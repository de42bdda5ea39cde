output "arns" {
  description = "ARNs of the secrets by name."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
}

output "kms_key_arn" {
  description = "Key of the secrets, and of those that people make below <name>/tasks/."
  value       = aws_kms_key.this.arn
}
