"""The dispatcher: a level-triggered loop that makes SQS and ECS match what Postgres wants."""
