"""Task files: sections, validation, and the task they describe."""
