"""Tests of the command `mgd`."""
