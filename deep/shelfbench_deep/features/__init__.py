"""Bottlenecks: pooled features of a pretrained or trained network."""
