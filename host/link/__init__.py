"""Frames, transfers and transports between host and board."""
