"""Where the photos of a table are: in files below its folder, or behind links."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.sources.cloud import StoreClient
from shelfbench.data.sources.files import FileImages
from shelfbench.data.sources.linked import LinkedImages
from shelfbench.data.sources.links import WEB, schemes_of
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.web import Limits, WebClient


class MixedImages:
    """Images of several places as one.

    Parameters
    ----------
    parts : sequence of ImageBytes
    part : ndarray of int8, shape (images,)
        Which of `parts` has each image.
    """

    def __init__(self, parts: Sequence[ImageBytes], part: np.ndarray) -> None:
        self.files: tuple[Path, ...] = tuple(file for images in parts for file in images.files)
        self._parts, self._part = tuple(parts), part
        self._row = np.empty(len(part), np.int64)
        for number in range(len(parts)):
            self._row[part == number] = np.arange(np.count_nonzero(part == number))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._part)

    def bring(self) -> None:
        """Fetch all images that are behind links."""
        for images in self._parts:
            bring_all(images)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read images, those of each place together."""
        indices = np.asarray(indices, np.int64)
        result: list[bytes] = [b""] * len(indices)
        for number, images in enumerate(self._parts):
            mine = np.flatnonzero(self._part[indices] == number)
            for position, data in zip(mine.tolist(), images.read(self._row[indices[mine]]), strict=True):
                result[position] = data
        return result

    def where(self, index: int) -> str:
        """Name the file or the link."""
        return str(self._parts[self._part[index]].where(int(self._row[index])))

    def identity(self) -> None:
        """Return None, because the names do not show whether the photos changed."""
        return None


def bring_all(images: ImageBytes) -> None:
    """Fetch photos that are elsewhere, all at once, before they are read one block after the other.

    Parameters
    ----------
    images : ImageBytes
        Those of a folder or a file are here already.
    """
    if isinstance(images, LinkedImages | MixedImages):
        images.bring()


def images_named(
    root: Path, names: np.ndarray, settings: DatasetSettings, console: Console, limits: Limits | None = None
) -> ImageBytes:
    """Return the images that a reader found by name.

    Parameters
    ----------
    root : Path
        Folder that the names are relative to.
    names : ndarray of object, shape (images,)
        Paths and links (``https://...``) may be mixed.
    settings : DatasetSettings
    console : Console
    limits : Limits, optional
        Of what is fetched by http(s).

    Returns
    -------
    ImageBytes

    Raises
    ------
    InputError
        If a link is of a kind that is not followed.
    """
    schemes = schemes_of(names)
    web = np.isin(schemes, WEB)
    part = np.where(schemes == "", 0, np.where(web, 1, 2)).astype(np.int8)
    limits = limits or Limits()
    parts: list[ImageBytes] = []
    for number in np.unique(part).tolist():
        mine = names[part == number]
        if number == 0:
            parts.append(FileImages(root, mine, settings.most))
        else:
            client = WebClient(limits) if number == 1 else StoreClient(limits.largest)
            parts.append(LinkedImages(mine, client, limits, console, retry=settings.retry))
    if len(parts) == 1:
        return parts[0]
    return MixedImages(parts, np.unique(part, return_inverse=True)[1].astype(np.int8))
