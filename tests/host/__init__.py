"""Tests of tasks, data, link, sessions and runs."""
