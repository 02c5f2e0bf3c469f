"""Tests of rtl.memory."""
