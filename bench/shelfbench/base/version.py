"""The version of shelfbench."""

__version__ = "0.2.0"
