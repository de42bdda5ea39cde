terraform {
  required_version = ">= 1.11"

  # Which bucket and key is told by backend.hcl, which the first `setpoint deploy` writes:
  # terraform init -backend-config=backend.hcl
  backend "s3" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ "setpoint:name" = var.name, "setpoint:environment" = local.environment }, var.tags)
  }
}
