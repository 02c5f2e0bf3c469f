"""Tests of rtl.spatial."""
