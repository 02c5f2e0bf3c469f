"""Float64 counterparts of the fixed-point model, for statistics and comparison only."""
