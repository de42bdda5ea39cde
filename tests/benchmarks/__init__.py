"""The benchmarks: the whole local system as its user starts it, measured from outside."""
