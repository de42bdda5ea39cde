"""Alerts and dashboards: defined once, made for Prometheus, Grafana and CloudWatch (`python -m controller.monitoring`)."""
