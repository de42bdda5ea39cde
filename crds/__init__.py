"""The nouns of Setpoint: resource kinds, phases, reasons, derived names and the worker protocol."""
