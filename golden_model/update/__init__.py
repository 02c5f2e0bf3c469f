"""From accumulators to weight changes: error feedback, Adam, and the high-pass filter of costs."""
