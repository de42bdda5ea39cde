"""Local mode: a real Postgres, local SQS, ECS, Lambda and Secrets Manager, the same controller and workers."""
