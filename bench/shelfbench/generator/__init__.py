"""A catalogue of product photos drawn by rule: the built-in dataset, written in Kaggle's Cdiscount layout."""

from shelfbench.generator.settings import GeneratorSettings
from shelfbench.generator.write import generate

__all__ = ["GeneratorSettings", "generate"]
