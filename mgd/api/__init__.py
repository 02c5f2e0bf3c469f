"""The Python API: open_session() and the session that it returns."""
