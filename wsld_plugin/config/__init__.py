"""Configs: finding and reading them, and refusing what cannot be meant before any work starts."""
