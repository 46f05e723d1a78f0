"""How large a catalogue's photos are, measured on a sample, and the size at which a network then looks at them.

A network sees its images at the size that it was made for, unless most photos are smaller: an enlarged photo shows
nothing new and costs as much as a large one. Some enlargement pays, since a network's first layers shrink the image
before anything else happens. So the size is the smallest multiple of 32 that is at least 1.6 times the median photo,
never less than 96, and never more than the network was made for. Photos of 60 x 80 are seen at 128.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.images import UnreadableImage, photo_size
from shelfbench.data.view import View, view_of

SAMPLE = 500
ENLARGED = 1.6
# Networks halve their input five times, so that a size between two multiples adds a border and no detail.
STEP = 32
LEAST = 96
# photos in memory at once: each may have megabytes
_AT_ONCE = 50


@dataclass(frozen=True)
class PhotoSize:
    """The typical size of a catalogue's photos.

    Attributes
    ----------
    side : float
        Median, in pixels, of the side that fills the square: the longer one, or the shorter if photos are cropped. 0 if
        no photo of the sample can be read.
    sample : int
        Number of photos looked at.
    """

    side: float
    sample: int


@dataclass(frozen=True)
class ChosenSize:
    """The size at which a network sees its images, and why.

    Attributes
    ----------
    pixels : int
    reason : str
        In words, for the screen, the record and the page.
    """

    pixels: int
    reason: str


def measure(images: ImageBytes, fit: str | View) -> PhotoSize:
    """Measure the photos of a catalogue, on a sample spread evenly over it.

    Parameters
    ----------
    images : ImageBytes
        Only the sample is read, and of it only the headers.
    fit : {'pad', 'crop', 'stretch'} or View
        How a photo becomes a square.

    Returns
    -------
    PhotoSize
        The same for the same catalogue.
    """
    view, count = view_of(fit), min(SAMPLE, len(images))
    chosen = np.arange(count) * len(images) // max(1, count)
    sides = []
    for start in range(0, count, _AT_ONCE):
        for data in images.read(chosen[start : start + _AT_ONCE]):
            try:
                size = photo_size(data)
            except UnreadableImage:
                continue
            sides.append(view.fills(size))
    return PhotoSize(float(np.median(sides)) if sides else 0.0, count)


def choose_size(photos: PhotoSize | None, made_for: int) -> ChosenSize:
    """Choose the size at which a network sees photos.

    Parameters
    ----------
    photos : PhotoSize or None
        None if they are not here.
    made_for : int
        Side of the images that the network was made for, in pixels.

    Returns
    -------
    ChosenSize
    """
    own = "the size that it was made for"
    if photos is None:
        return ChosenSize(made_for, f"{own}; the photos are not here")
    if not photos.side:
        return ChosenSize(made_for, f"{own}; none of a sample of {photos.sample:,} photos can be read")
    measured = f"the photos have {photos.side:,.0f} px (median of a sample of {photos.sample:,})"
    wanted = max(LEAST, STEP * math.ceil(ENLARGED * photos.side / STEP))
    if wanted >= made_for:
        return ChosenSize(made_for, f"{own}; {measured}")
    rule = "the least that it is given" if wanted == LEAST else f"{ENLARGED:g} times that, in steps of {STEP}"
    return ChosenSize(wanted, f"{measured}, and this is {rule}; it was made for {made_for}")
