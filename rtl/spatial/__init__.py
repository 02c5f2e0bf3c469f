"""The spatial core: one circuit per synapse, one training step per clock."""
