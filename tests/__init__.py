"""Tests of the golden model, the host and the scripts."""
