output "rules" {
  description = "Names of the schedules' rules by namespace/dag/schedule."
  value       = { for key, rule in aws_cloudwatch_event_rule.schedule : key => rule.name }
}

output "expressions" {
  description = "What EventBridge makes of each schedule that has a rule."
  value       = { for key in local.ruled : key => local.expressions[key] }
}

output "ticked" {
  description = "Schedules without a rule of their own: they ride the one-minute platform tick."
  value       = local.ticked
}

output "unparsed" {
  description = "Files that yield no rule, because they are no YAML or hold a document without a kind."
  value       = module.manifests.unparsed
}
