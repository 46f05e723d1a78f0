"""Training networks end to end."""
