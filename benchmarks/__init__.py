"""The last recorded result of each `mgd bench` and `mgd study`: data only."""
