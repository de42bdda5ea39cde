"""What wakes keys: notifications, timers, resync, events. Losing any of it costs time, never work."""
