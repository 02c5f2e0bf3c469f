"""Checks of a board, part by part."""
