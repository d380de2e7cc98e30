"""Measures of what was trained, and their plots; no training code."""
