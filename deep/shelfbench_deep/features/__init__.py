"""Bottlenecks: pooled features of a pretrained network."""
