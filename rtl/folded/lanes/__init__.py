"""The lanes, and the units that tell them which weights to change and which sums to take."""
