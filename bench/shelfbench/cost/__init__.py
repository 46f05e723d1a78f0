"""Time, memory and disk: timing, plan, trial measurements."""
