"""Perturbation signs: the maximal-length sequence, and the stretch of it that each neuron owns."""
