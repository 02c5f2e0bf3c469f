"""Parts that several commands have in common: options, progress, recorded results."""
