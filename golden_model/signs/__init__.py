"""Perturbation signs: the maximal-length sequence, and each neuron's part of it."""
