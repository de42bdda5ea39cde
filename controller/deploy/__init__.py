"""Roll out to AWS and take back: steps that may be repeated, and the programs that they run inside."""
