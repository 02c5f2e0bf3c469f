"""The golden model: it defines every number of the project, in NumPy only.

Everything that happens in a training step (formats, signs, activations, costs, update,
schedule) is defined here, once.  `rtl` imports the constants and tables and is compared
with these functions bit for bit.  `docs/numerics.md` says the same in words.
"""
