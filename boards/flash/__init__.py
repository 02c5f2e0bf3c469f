"""Loading a bitstream into a board."""
