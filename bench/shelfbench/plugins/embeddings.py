"""Embeddings that are there already, as the features of any backend that sits on a backbone."""

from __future__ import annotations

from shelfbench.data.embedding_names import source_of
from shelfbench.data.embeddings import EmbeddingExtractor
from shelfbench.plugins.backend import FeatureParts


def embedding_features(backbone: str) -> FeatureParts:
    """Make the features of ``features:X``.

    Parameters
    ----------
    backbone : str
        Its name, such as ``features:embedding``.

    Returns
    -------
    FeatureParts
        They are opened by the run, which has the catalogue.
    """
    source = source_of(backbone)
    return FeatureParts(features=EmbeddingExtractor(source), settings={"features": source})
