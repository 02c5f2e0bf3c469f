"""The command `mgd`: one file per sub-command."""
