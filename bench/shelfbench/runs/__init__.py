"""A run directory and what happens in it."""
