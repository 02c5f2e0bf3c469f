"""When a step begins and ends: commands, time constants, samples and costs."""
