"""What a backend or an experiment is, how it is found, and the checks that every backend must pass."""
