"""The experiments of the two papers that need networks."""
