"""How a photo becomes a square: as the study says, or as a network was trained to see photos.

A network that comes with a transform of its own brings a `View` in its extractor's attribute ``view``. The three own
ways (``center``, ``squash``, ``border``) are those of timm, to the pixel: sizes are rounded as torchvision rounds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shelfbench.data.extractor import FeatureExtractor

STUDY_FITS = ("pad", "crop", "stretch")
OWN_FITS = ("center", "squash", "border")
RESAMPLES = ("bilinear", "bicubic", "lanczos", "box", "hamming", "nearest")
WHITE = (255, 255, 255)
# Shares of a photo's shorter side that a network may look at; more than 1 leaves a border.
CROPS = (0.1, 2.0)
# Of a photo's sides, while it is decoded: the fractions for which libjpeg-turbo has vector instructions.
DIVISORS = (8, 4, 2)
# Two fractions of a photo that is smaller than this may have the same size.
_LEAST = 16


@dataclass(frozen=True)
class Place:
    """Where a square lies on a photo.

    Attributes
    ----------
    size : tuple of int
        Width and height to which the whole photo is resized.
    left, top : int
        Where the square begins in the resized photo; negative if it begins before it, in a border.
    """

    size: tuple[int, int]
    left: int
    top: int

    def seen(self, pixels: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of the part of the resized photo that is inside the square."""
        (width, height), (left, top) = self.size, (self.left, self.top)
        return max(left, 0), max(top, 0), min(left + pixels, width), min(top + pixels, height)


@dataclass(frozen=True, kw_only=True)
class View:
    """How a photo becomes a square.

    Attributes
    ----------
    fit : {'pad', 'crop', 'stretch', 'center', 'squash', 'border'}
        The first three are those of `shelfbench.data.images.ImageSettings`. ``center`` is the middle of the photo whose
        shorter side becomes ``pixels / crop``, ``squash`` the middle of the photo whose both sides become that, and
        ``border`` the middle of the photo whose longer side becomes that, on a background.
    resample : str
        One of `RESAMPLES`, Pillow's names.
    crop : float
        See `fit`; 1 for the first three.
    background : tuple of int
        Red, green and blue around the photo.
    scaled : bool
        Whether JPEGs that are larger than needed are decoded at a fraction (``images.scaled`` of the study).

    Raises
    ------
    ValueError
        If a value is not valid: a view may come from anyone.
    """

    fit: str = "pad"
    resample: str = "bicubic"
    crop: float = 1.0
    background: tuple[int, int, int] = WHITE
    scaled: bool = False

    def __post_init__(self) -> None:
        if self.fit not in STUDY_FITS + OWN_FITS:
            raise ValueError(f"no way to make a photo square is called {str(self.fit)[:40]!r}")
        if self.resample not in RESAMPLES:
            raise ValueError(f"there is no interpolation called {str(self.resample)[:40]!r}")
        if isinstance(self.crop, bool) or not isinstance(self.crop, int | float) or not self._in_bounds():
            raise ValueError(f"a crop of {str(self.crop)[:40]} is not between {CROPS[0]} and {CROPS[1]}")
        if len(self.background) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in self.background):
            raise ValueError("a background is red, green and blue from 0 to 255")

    def _in_bounds(self) -> bool:
        return self.crop == 1 if self.fit in STUDY_FITS else CROPS[0] <= self.crop <= CROPS[1]

    @property
    def own(self) -> bool:
        """Whether it is a network's own."""
        return self.fit in OWN_FITS

    def place(self, size: tuple[int, int], pixels: int) -> Place:
        """Find the square on a photo, for every way but ``crop``, whose edges need not lie between pixels.

        Parameters
        ----------
        size : tuple of int
            Width and height of the photo.
        pixels : int
            Side of the square.

        Returns
        -------
        Place
        """
        if self.fit == "stretch":
            return Place((pixels, pixels), 0, 0)
        if self.fit == "pad":
            width, height = (max(1, round(side * (pixels / max(size)))) for side in size)
            return Place((width, height), -((pixels - width) // 2), -((pixels - height) // 2))
        target = math.floor(pixels / self.crop)
        if self.fit == "squash":
            width = height = target
        elif self.fit == "border":
            ratio = max(size) / target
            width, height = (max(1, round(side / ratio)) for side in size)
        elif size[0] <= size[1]:
            width, height = target, int(target * size[1] / size[0])
        else:
            width, height = int(target * size[0] / size[1]), target
        return Place((width, height), _middle(width, pixels), _middle(height, pixels))

    def divisor(self, size: tuple[int, int], pixels: int) -> int:
        """Return by how much a JPEG is divided while it is decoded.

        Parameters
        ----------
        size : tuple of int
            Width and height of the photo.
        pixels : int
            Side of the square.

        Returns
        -------
        int
            8, 4, 2 or 1: the most that leaves the photo at least as large as it is then resized to. libjpeg-turbo also
            decodes at 3/8 and the like, but without vector instructions: no faster than at a half, and less exact.
        """
        if not self.scaled or max(size) < _LEAST:
            return 1
        scale = pixels / min(size)
        across, down = self.place(size, pixels).size if self.fit != "crop" else (size[0] * scale, size[1] * scale)
        fitting = (by for by in DIVISORS if by * across <= size[0] and by * down <= size[1])
        return next(fitting, 1)

    def fills(self, size: tuple[int, int]) -> float:
        """Return how many of a photo's pixels fill the square's side."""
        if self.fit in ("crop", "center"):
            return min(size) * self.crop
        return max(size) * self.crop

    def describe(self, images: dict[str, Any]) -> dict[str, Any]:
        """Describe how photos become squares, for the key of features.

        Parameters
        ----------
        images : dict
            `shelfbench.data.images.ImageSettings.describe` of the study.

        Returns
        -------
        dict
            The same, unless this is a network's own view.
        """
        if not self.own:
            return images
        own = {"fit": self.fit, "background": list(self.background), "resample": self.resample, "crop": self.crop}
        return {**images, **own}

    def says(self, pixels: int) -> str:
        """Say how photos become squares, for the screen and the page.

        Parameters
        ----------
        pixels : int
            Side of the square.

        Returns
        -------
        str
            ``its own transform: the central 224 px of a photo whose shorter side becomes 256 (bicubic)``.
        """
        target = math.floor(pixels / self.crop)
        if not self.own:
            how = {"pad": "padded with white", "crop": "cropped to their central square", "stretch": "stretched"}
            return f"photos are {how[self.fit]}"
        whole = {"center": "shorter side becomes", "squash": "sides both become", "border": "longer side becomes"}
        part = "all" if target == pixels and self.fit != "center" else f"the central {pixels} px"
        return f"its own transform: {part} of a photo whose {whole[self.fit]} {target} ({self.resample})"


def view_of(fit: str | View) -> View:
    """Return the view that a study's ``images.fit`` stands for."""
    return fit if isinstance(fit, View) else View(fit=fit)


def view_for(extractor: FeatureExtractor, fit: str | View) -> View:
    """Return how an extractor sees photos: its own way, if it has one, or the study's.

    Parameters
    ----------
    extractor : FeatureExtractor
    fit : {'pad', 'crop', 'stretch'} or View
        ``images.fit`` of the study, or its view, which also says whether large JPEGs are decoded at a fraction.

    Returns
    -------
    View
    """
    own: View | None = getattr(extractor, "view", None)
    view = view_of(fit)
    return view if own is None else replace(own, scaled=view.scaled)


def _middle(side: int, pixels: int) -> int:
    """Begin a square in the middle of a side, or a side in the middle of the square, as torchvision rounds it."""
    return -((pixels - side) // 2) if side < pixels else round((side - pixels) / 2)
