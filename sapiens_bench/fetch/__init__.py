"""Bringing files that a card names to this machine, when a person asked for it and nowhere else."""
