"""`mgd study`: one study a file."""
