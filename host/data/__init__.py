"""From a user's files to the samples of a core."""
