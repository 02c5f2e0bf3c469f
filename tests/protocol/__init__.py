"""Tests of what gateware and host agree on."""
