"""From predictions to a decision: predictions, metrics, intervals."""
