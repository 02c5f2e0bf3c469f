"""What several commands share: options, progress, recorded results."""
