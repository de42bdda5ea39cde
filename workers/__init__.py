"""The workers: one program that runs the attempts of one pool."""
