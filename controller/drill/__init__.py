"""Drills: make a fault on purpose, watch the system mend itself, and say what it cost."""
