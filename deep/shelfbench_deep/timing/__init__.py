"""What networks cost on this device."""
