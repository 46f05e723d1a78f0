"""How many images, products and categories a study has, by use."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shelfbench.data.material import Material


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of images of a study, by use.

    Attributes
    ----------
    images, train, tune, held_out : int
        All; those for training; those for choices; those of validation and test.
    classes : int
    products, held_products : int
        All; those of validation and test. 0 where products are not known, which then count as many as images.
    photo_bytes : float
        Of an encoded photo, on average; 0 where that is not known.
    """

    images: int
    train: int
    tune: int
    held_out: int
    classes: int
    products: int = 0
    held_products: int = 0
    photo_bytes: float = 0.0

    def scaled(self, images: int) -> Sizes:
        """Scale to another number of images, keeping the shares."""

        def part(count: int) -> int:
            return round(count / self.images * images)

        return replace(
            self,
            images=images,
            train=max(1, part(self.train)),
            tune=part(self.tune),
            held_out=part(self.held_out),
            products=part(self.products),
            held_products=part(self.held_products),
        )

    @property
    def rows(self) -> int:
        """Products, or images where products are not known."""
        return self.products or self.images

    @property
    def held_rows(self) -> int:
        """Products of validation and test, or images where products are not known."""
        return self.held_products or self.held_out


def counted(material: Material) -> Sizes:
    """Count the products and images of a split.

    Parameters
    ----------
    material : Material

    Returns
    -------
    Sizes
    """
    parts = {role: material.images_of(role) for role in ("train", "tune")}
    train, tune = (part.stop - part.start for part in parts.values())
    held = material.frame["split"].to_numpy() != "train"
    return Sizes(
        images=len(material.image),
        train=train,
        tune=tune,
        held_out=int(held[material.owner].sum()),
        classes=len(material.classes),
        products=len(material.frame),
        held_products=int(np.count_nonzero(held)),
    )
