"""Tests of rtl.units and rtl.lib."""
