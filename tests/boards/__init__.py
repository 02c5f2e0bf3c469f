"""Tests of builds, estimates, netlists and the simulated board."""
