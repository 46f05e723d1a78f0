"""The cost of networks on this device."""
