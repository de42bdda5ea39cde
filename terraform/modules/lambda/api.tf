# The webhook API. It is regional and lies in no subnet; the function that it calls does.

resource "aws_apigatewayv2_api" "webhooks" {
  name          = "${var.name}-webhooks"
  description   = "Signed webhooks that trigger DAGs"
  protocol_type = "HTTP"
  tags          = var.tags
}

resource "aws_cloudwatch_log_group" "api" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs at rest with a key of its own, and no secret is logged
  #checkov:skip=CKV_AWS_338:How long logs are kept is the owner's variable
  name              = "/${var.name}/api-gateway"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.webhooks.id
  name        = "$default"
  auto_deploy = true
  tags        = var.tags

  default_route_settings {
    throttling_rate_limit  = var.throttle.rate
    throttling_burst_limit = var.throttle.burst
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.api.arn

    # Neither headers nor bodies: the one holds signatures, the other people's data.
    format = jsonencode({
      time      = "$context.requestTime"
      request   = "$context.requestId"
      ip        = "$context.identity.sourceIp"
      route     = "$context.routeKey"
      path      = "$context.path"
      status    = "$context.status"
      length    = "$context.responseLength"
      latencyMs = "$context.responseLatency"
      error     = "$context.integrationErrorMessage"
    })
  }
}

resource "aws_apigatewayv2_integration" "webhook" {
  api_id                 = aws_apigatewayv2_api.webhooks.id
  integration_type       = "AWS_PROXY"
  integration_method     = "POST"
  integration_uri        = aws_lambda_function.this["webhook"].invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 30000
}

locals {
  # A path is <prefix> or <prefix>/<rest>.
  routes = merge([
    for prefix in var.webhook_prefixes : {
      (prefix)             = { path = "/hooks/${prefix}", permitted = "/hooks/${prefix}" }
      "${prefix}/{proxy+}" = { path = "/hooks/${prefix}/{proxy+}", permitted = "/hooks/${prefix}/*" }
    }
  ]...)
}

resource "aws_apigatewayv2_route" "webhook" {
  #checkov:skip=CKV_AWS_309:The function checks each request's HMAC signature; API Gateway has no authorizer that sees the body
  for_each = local.routes

  api_id    = aws_apigatewayv2_api.webhooks.id
  route_key = "POST ${each.value.path}"
  target    = "integrations/${aws_apigatewayv2_integration.webhook.id}"
}

resource "aws_lambda_permission" "webhook" {
  for_each = local.routes

  statement_id  = "webhook-${substr(sha256(each.key), 0, 16)}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["webhook"].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.webhooks.execution_arn}/*/POST${each.value.permitted}"
}
