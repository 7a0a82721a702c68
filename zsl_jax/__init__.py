"""Generative zero-shot learning in functional JAX."""

__version__ = "0.1.0"
