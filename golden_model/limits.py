"""Limits that hold for every network, every run and every core."""

TAU_MAX = (1 << 16) - 1
"""Largest time constant, in steps."""
DELTA_EXP_MAX = 12
"""Largest exponent d of the perturbation size δ = 2^-d that every core accepts."""
SHIFT_MIN = -4
"""Smallest update shift S (golden_model.update.shift); negative means a left shift."""
LAYER_MAX = 4096
"""Most nodes of a layer; the widths of sums are checked up to there."""
STEPS_MAX = (1 << 32) - 1
"""Most steps of a run: the core counts them in 32 bits."""
DELAY_MAX = 1023
"""Most steps by which an update may be late."""
RESIDENT_MAX = (1 << 24) - 1
"""Most training samples of a resident window."""
SEED_MAX = (1 << 63) - 1
"""Largest seed."""
LANES_MAX = 256
"""Most lanes of a folded core: the link addresses a lane in 8 bits."""
