"""What the simulations share: the runner, drivers and interesting values."""
