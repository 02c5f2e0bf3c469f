"""Tests of rtl.folded."""
