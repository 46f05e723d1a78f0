"""Classifiers on bottlenecks."""
