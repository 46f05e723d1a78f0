"""Photos that a report shows while the catalogue is open: they go from the run to its report in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from shelfbench.data.images import UnreadableImage, open_image
from shelfbench.data.material import Material


@dataclass(frozen=True)
class Photos:
    """The photos of a run.

    Attributes
    ----------
    material : Material
    seed : int
        Draws the photos of `random`.
    """

    material: Material
    seed: int

    def random(self, count: int = 40) -> list[tuple[Image.Image, str]]:
        """Draw random photos of train for Figure 1.

        Parameters
        ----------
        count : int
            Maximum number; unreadable ones are skipped.

        Returns
        -------
        list of (Image, str)
            Each with the display name of its category.
        """
        material, train = self.material, self.material.images_of("train")
        rows = np.random.default_rng([self.seed, 1]).permutation(np.arange(train.start, train.stop))
        names = {category.key: category.name for category in material.catalogue.categories}
        drawn: list[tuple[Image.Image, str]] = []
        for row in rows[: 2 * count]:
            image = self._first([int(material.image[row])])
            if image is None:
                continue
            drawn.append((image, names[material.frame["category"][material.owner[row]]]))
            if len(drawn) == count:
                break
        return drawn

    def of_product(self, product: Any) -> Image.Image | None:
        """Show a product.

        Parameters
        ----------
        product : int or str
            Its id.

        Returns
        -------
        Image or None
            Its first readable photo.
        """
        material = self.material
        [row] = np.flatnonzero(material.frame["product_id"].to_numpy() == product)
        return self._first(material.image[slice(*np.searchsorted(material.owner, [row, row + 1]))].tolist())

    def _first(self, images: Sequence[int]) -> Image.Image | None:
        """The first readable one of some images of the catalogue."""
        for image in images:
            try:
                return open_image(self.material.catalogue.images.read([image])[0])
            except UnreadableImage:
                continue
        return None
