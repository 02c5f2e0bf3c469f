"""Building and simulating the design: the tools, the boards and the simulated board."""
