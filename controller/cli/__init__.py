"""The command `setpoint`."""
