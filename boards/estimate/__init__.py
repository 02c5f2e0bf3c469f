"""Cells, memories and multipliers: estimated before synthesis, and counted after it."""
