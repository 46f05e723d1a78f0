"""What a backend or an experiment is, how one is found, and what every backend must pass."""
