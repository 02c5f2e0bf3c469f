"""`mgd bench`: one benchmark a file, and what they measure against."""
