"""`mgd bench`: one benchmark a file, and the programs that they compare with."""
