"""Task files: their sections, their validation, and the run that they describe."""
