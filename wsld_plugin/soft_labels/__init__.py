"""Soft labels on disk: written once by a teacher, read in training instead of it. Nothing here trains."""
