"""Tests of the gateware in simulation, each against code that was written apart from it."""
