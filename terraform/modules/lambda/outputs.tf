output "functions" {
  description = "Name and ARN of cron, webhook, ecs-state and operator."
  value       = { for key, function in aws_lambda_function.this : key => { name = function.function_name, arn = function.arn } }
}

output "security_group_id" {
  description = "The security group of the functions."
  value       = aws_security_group.this.id
}

output "api_endpoint" {
  description = "The webhook API: webhooks are posted to <endpoint>/hooks/<path>."
  value       = aws_apigatewayv2_api.webhooks.api_endpoint
}

output "role_arns" {
  description = "Roles by function."
  value       = { for key, role in aws_iam_role.this : key => role.arn }
}
