"""The sub-commands of `mgd`, one a file."""
