output "queues" {
  description = "The pools' queues by key: ARN, URL and name of each and of its dead-letter queue."
  value = {
    for key, queue in aws_sqs_queue.pool : key => {
      arn      = queue.arn
      url      = queue.url
      name     = queue.name
      dlq_arn  = aws_sqs_queue.dead_letter[key].arn
      dlq_url  = aws_sqs_queue.dead_letter[key].url
      dlq_name = aws_sqs_queue.dead_letter[key].name
    }
  }
}

output "failures_queue" {
  description = "The queue of failed Lambda invocations."
  value = {
    arn  = aws_sqs_queue.failures.arn
    url  = aws_sqs_queue.failures.url
    name = aws_sqs_queue.failures.name
  }
}
