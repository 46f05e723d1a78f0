"""A catalogue of product photos drawn by rule: the embedded data set, written in Kaggle's Cdiscount layout."""

from bench.data.generator.settings import GeneratorSettings
from bench.data.generator.write import generate

__all__ = ["GeneratorSettings", "generate"]
