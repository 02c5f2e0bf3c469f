"""Arithmetic, delays and counters that know nothing of the training core."""
