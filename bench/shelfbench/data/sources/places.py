"""Where the photos of a table are: files below a folder, for now."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.sources.files import FileImages
from shelfbench.data.sources.tables import DatasetSettings


def images_named(root: Path, names: np.ndarray, settings: DatasetSettings, console: Console) -> ImageBytes:
    """Return the images that a reader found by name.

    Parameters
    ----------
    root : Path
        Folder that the names are relative to.
    names : ndarray of object, shape (images,)
    settings : DatasetSettings
    console : Console

    Returns
    -------
    ImageBytes
    """
    return FileImages(root, names)
