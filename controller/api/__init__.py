"""The HTTP API: the worker protocol and the resources."""
