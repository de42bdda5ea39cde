"""The decisions: pure functions of what is desired, what is observed, and the time. No I/O, no clock, no logging."""
