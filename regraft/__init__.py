"""Regraft: adapt pre-trained models to few labels, measure them, and replace them safely."""

__version__ = "0.1.0"
