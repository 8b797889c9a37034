"""Keras layers that at least two models use."""
