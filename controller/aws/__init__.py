"""Thin adapters over boto3; AWS's error codes stand in one table."""
