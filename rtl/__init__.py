"""Amaranth components of the training core, each equal to a golden_model function."""
