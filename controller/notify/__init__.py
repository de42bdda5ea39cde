"""Tell people what became of runs and datasets: messages, and the channels by which they go."""
