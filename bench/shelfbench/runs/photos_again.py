"""Photos of a run that is over: its data are opened again, if they are still there and still the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.processor import cores
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.datasets import open_dataset
from shelfbench.data.material import gather
from shelfbench.data.named import find_named, named_datasets
from shelfbench.data.sources.elsewhere import is_elsewhere
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import ROLES, SPLITS, Split
from shelfbench.generator import GeneratorSettings
from shelfbench.runs.directory import Run
from shelfbench.runs.photos import Photos
from shelfbench.runs.record import RECORD
from shelfbench.study.sections import build_section


@dataclass(frozen=True)
class PhotosAgain:
    """The photos of a run that is over.

    Attributes
    ----------
    of_product : callable
        Returns the first readable photo of a product by its id; None if there is none, or if the data now put the
        product into another category, so that it may be another product.
    relabelled : int
        Products of the run whose category is another one now.
    """

    of_product: Callable[[Any], Image.Image | None]
    relabelled: int


def photos_again(run: Run, data: Path | None, console: Console) -> PhotosAgain:
    """Open the data of a run again.

    Parameters
    ----------
    run : Run
    data : Path or None
        Where to look for the data first.
    console : Console

    Returns
    -------
    PhotosAgain

    Raises
    ------
    InputError
        If the study wants no photos shown, or the data are not here or are not those of the run.
    """
    study, where = run.record.study, str(run.path / RECORD)
    if (study.get("report") or {}).get("pictures") is False:
        raise InputError("the study says report.pictures = false", "run it again with --set report.pictures=true")
    settings = build_section(DatasetSettings, study.get("dataset") or {}, "dataset", where)
    generated = build_section(GeneratorSettings, study.get("generated") or {}, "generated", where)
    catalogue = _opened(settings, generated, data, console)
    known = run.record.dataset
    for what, before, now in (
        ("products", known.products, len(catalogue.product_id)),
        ("images", known.images, len(catalogue.images)),
    ):
        if before not in (None, now):
            raise _changed(settings.name, f"{before:,} {what} then, {now:,} now")
    split = run.split
    place = pd.Index(catalogue.product_id).get_indexer(pd.Index(split["product_id"]))
    if lost := int((place < 0).sum()):
        raise _changed(settings.name, f"{lost:,} of the run's {len(split):,} products are not in them")
    photos = Photos(gather(catalogue, _split_of(split, place)), run.record.seed or 0)
    keys = np.array([category.key for category in catalogue.categories], object)
    other = keys[catalogue.product_category[place]] != split["category"].to_numpy(object)
    relabelled = set(split["product_id"][other].tolist())

    def of_product(product: Any) -> Image.Image | None:
        return None if product in relabelled else photos.of_product(product)

    return PhotosAgain(of_product, len(relabelled))


def _opened(settings: DatasetSettings, generated: GeneratorSettings, data: Path | None, console: Console) -> Catalogue:
    """Open the data, but fetch no named dataset."""
    name, named = settings.name, named_datasets().get(settings.name)
    if named and named.method != "generate" and find_named(name, data) is None:
        raise InputError(f"the dataset {name} is not here", "say where it is with --data")
    try:
        return open_dataset(settings, generated, data, cores(), console)[0]
    except InputError as error:
        if named or is_elsewhere(name) or Path(name).is_absolute():
            raise
        remedy = "go to the folder in which the run was started, or name that folder with --data"
        raise InputError(error.message, remedy) from error


def _changed(name: str, how: str) -> InputError:
    return InputError(f"the data {name} have changed since the run ({how})", "run the study again, in a new --out")


def _split_of(split: pd.DataFrame, place: np.ndarray) -> Split:
    """Find the split of the run among the products of its catalogue."""
    order = np.argsort(place)
    codes = {
        column: pd.Categorical(split[column], categories=list(names)).codes[order]
        for column, names in (("split", SPLITS), ("role", ROLES))
    }
    return Split(
        product=place[order].astype(np.int64),
        split=codes["split"],
        role=codes["role"],
        rule="",
        excluded_products=0,
        excluded_categories=0,
        excluded_reason="",
        duplicates={},
    )
