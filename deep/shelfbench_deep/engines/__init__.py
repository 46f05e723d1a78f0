"""The engines under Keras, and the ones that only compute forward."""
