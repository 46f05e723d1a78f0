"""Keras and the engines under it, and OpenVINO, which only computes forward."""
