"""What the stages of a run hold in memory, on disk, and what they read: the one place that knows.

Peaks that a trial measures contain the process itself, its libraries and its network; what grows with the number of
images is added here.
"""

from __future__ import annotations

from shelfbench.cost.sizes import Sizes
from shelfbench.data.rows import IN_MEMORY

MIB = 2**20
_FLOAT = 4

# Images whose scores are computed at once, and arrays of that size at the peak: scores, their softmax and copies.
_SCORED, _COPIES = 8192, 4
# Of `tune`, scores (images x categories) that are held at once while the rule is chosen, in float64.
_CHOOSING = 1 << 25
# Features of less than this are held in memory; of more, a file is mapped (`shelfbench.data.rows.IN_MEMORY`).
_SMALL = IN_MEMORY / MIB
# Bytes of a product with its images while it is split, and while the report reads all predictions: measured with 20
# million products (results/scale/twenty_million.csv).
_SPLIT, _REPORTED = 200, 600
# An image's 100 best categories: a code and a float each; scores are written in parts of so many images.
_BEST = 100
_KEPT, _PART = _BEST * 6, 1 << 17
# Compressed, on disk: an image's best categories, as a share of that; predictions of a product; those of a held product
# that tell aggregations apart; what a run leaves whatever its size (page, figures, tables).
_ON_DISK, _PREDICTION, _AGGREGATION, _REPORT = 0.8, 90, 30, 3.0
# A guard: features of the photos that it learns from, and of those on which it is chosen, twice each.
GUARD = 1024.0
# Fingerprints for near-duplicates.
_FINGERPRINT = 384


def features(images: int, dimensions: int) -> float:
    """Return the MiB of the features of some images, on disk."""
    return images * dimensions * _FLOAT / MIB


def held(images: int, dimensions: int) -> float:
    """Return the MiB of features that a run holds in memory: all of few, none of many."""
    found = features(images, dimensions)
    return found if found <= _SMALL else 0.0


def kept(images: int, dimensions: int) -> float:
    """Return the MiB of some images' features in the cache: in the store, and of many in the file that is mapped."""
    found = features(images, dimensions)
    return found if found <= _SMALL else 2 * found


def scoring(sizes: Sizes) -> float:
    """Return the MiB that scores take at their peak, besides the process, the features and the classifier."""
    block = min(_SCORED, sizes.images) * sizes.classes * 8 * _COPIES
    choosing = min(_CHOOSING, sizes.tune * sizes.classes) * 8 * _COPIES
    best = min(sizes.held_out, _PART) * _KEPT * min(1.0, sizes.classes / _BEST)
    return (max(block, choosing) + 2 * best + sizes.rows * _SPLIT) / MIB


def columns(sizes: Sizes) -> float:
    """Return the MiB of the catalogue's and the split's columns."""
    return sizes.rows * _SPLIT / MIB


def reporting(sizes: Sizes) -> float:
    """Return the MiB that the report holds besides the process."""
    return sizes.rows * _REPORTED / MIB


def fingerprints(images: int) -> float:
    """Return the MiB of the fingerprints by which near-duplicates are found, in memory and on disk."""
    return features(images, _FINGERPRINT)


def results(sizes: Sizes) -> float:
    """Return the MiB that a backend leaves in the run directory besides its model."""
    best = sizes.held_out * _KEPT * min(1.0, sizes.classes / _BEST) * _ON_DISK
    return (best + sizes.rows * _PREDICTION + sizes.held_rows * _AGGREGATION) / MIB


def report(sizes: Sizes) -> float:
    """Return the MiB of the report and of what a run notes about its data."""
    return _REPORT + sizes.rows * 8 / MIB


def photos(images: int, sizes: Sizes) -> float:
    """Return the MiB of the encoded photos that are read, once each."""
    return images * sizes.photo_bytes / MIB
