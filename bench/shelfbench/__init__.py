"""The harness of shelfbench: it knows no network and no classifier by name."""

__version__ = "0.2.0"
