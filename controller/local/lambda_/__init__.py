"""A local Lambda: functions run in children that speak the Runtime API through awslambdaric."""
