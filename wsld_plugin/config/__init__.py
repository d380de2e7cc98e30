"""Configs: loading them, and rejecting errors in them before any work starts."""
