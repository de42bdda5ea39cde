output "repositories" {
  description = "The repositories by key: URL, ARN and name."
  value = {
    for key, repository in aws_ecr_repository.this : key => {
      url  = repository.repository_url
      arn  = repository.arn
      name = repository.name
    }
  }
}
