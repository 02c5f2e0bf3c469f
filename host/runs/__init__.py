"""Training runs: the loop, its progress, its checkpoints and the folder it leaves."""
