"""Tests of gateware that run in Amaranth's own simulator or in whole-core simulation."""
