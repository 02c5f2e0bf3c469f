"""A run as one HTML page, and the pictures in it."""
