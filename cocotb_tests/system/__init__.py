"""Tests of rtl.system."""
