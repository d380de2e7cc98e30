"""Measures of soft labels and of trained models, and their plots; no training code."""
