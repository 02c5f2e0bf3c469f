"""Units that both cores use: activation functions, costs, and the high-pass filter."""
