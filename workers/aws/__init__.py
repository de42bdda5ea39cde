"""The Lambda functions: sources of events, and the host of tasks with runtime lambda."""
