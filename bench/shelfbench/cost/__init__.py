"""What things take: timing, plan, trial measurements."""
