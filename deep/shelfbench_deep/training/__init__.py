"""Training networks: fine-tuning a backbone, and training a network end to end."""
