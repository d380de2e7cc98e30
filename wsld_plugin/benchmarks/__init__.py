"""How long a training step takes, one variant beside another."""
