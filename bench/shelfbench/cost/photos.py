"""Photos to try the jobs of a study on, and the numbers of images to plan for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cost.sizes import Sizes, counted
from shelfbench.cost.undisturbed import Undisturbed
from shelfbench.data.catalogue import DIGEST, Catalogue, Category
from shelfbench.data.datasets import is_drawn, open_dataset
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.material import Material, gather
from shelfbench.data.named import find_named, named_datasets
from shelfbench.data.photo_size import PhotoSize, measure
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import make_split
from shelfbench.data.view import view_for
from shelfbench.generator import GeneratorSettings, generate
from shelfbench.generator.assortment import draw_assortment
from shelfbench.generator.write import PHOTOS
from shelfbench.plugins.planned import PlannedJob, PlannedJobs
from shelfbench.study.model import Study

# Categories of a dataset that is not available, if the study does not say (C31).
_CATEGORIES = 1000
# Products that the studies' own generated catalogues have; a larger one is not drawn for a plan.
_DRAWN = 10_000
# Products drawn to see how long that takes, and photos whose sizes are looked at.
_FEW, _SEEN = 200, 512


@dataclass(frozen=True, kw_only=True)
class PlannedPhotos:
    """Photos to try jobs on, and the sizes to plan for.

    `material` is None, and `fit` empty, if the photos only stand in for data that are not here.

    Attributes
    ----------
    catalogue : Catalogue
    material : Material or None
    sizes : Sizes
    scaled : bool
        Whether the sizes are not those of the data.
    whole : bool
        Whether `catalogue` is that of the study.
    fit : str
    drawing, opening, splitting : float
        Seconds per image of drawing the catalogue; per product, of opening and of splitting it.
    notes : tuple of str
    """

    catalogue: Catalogue
    material: Material | None
    sizes: Sizes
    scaled: bool
    whole: bool = False
    fit: str = ""
    drawing: float = 0.0
    opening: float = 0.0
    splitting: float = 0.0
    notes: tuple[str, ...] = ()

    def seen(self, extractor: FeatureExtractor) -> PhotoSize | None:
        """Measure the photos as an extractor sees them, if they are here."""
        return measure(self.catalogue.images, view_for(extractor, self.fit)) if self.fit else None

    def sizes_of(self, job: PlannedJob) -> Sizes:
        """Count the images that a job uses: its own part of the data, or all."""
        if job.cut is None or self.material is None or self.scaled:
            return self.sizes
        return replace(counted(job.cut(self.material)), photo_bytes=self.sizes.photo_bytes)


@dataclass(frozen=True)
class Asked:
    """What to plan for: numbers of images and categories; 0 for those of the data."""

    images: int = 0
    categories: int = 0

    def of(self, sizes: Sizes) -> Sizes:
        """Return the sizes to plan for."""
        found = sizes.scaled(self.images) if self.images else sizes
        return replace(found, classes=self.categories) if self.categories else found

    def __bool__(self) -> bool:
        """Whether anything was asked."""
        return bool(self.images or self.categories)


def planned_photos(
    study: Study, planned: PlannedJobs, data: Path | None, *, workers: int, asked: Asked, console: Console
) -> PlannedPhotos:
    """Find photos; nothing is downloaded.

    Parameters
    ----------
    study : Study
    planned : PlannedJobs
    data : Path or None
    workers : int
    asked : Asked
    console : Console

    Returns
    -------
    PlannedPhotos

    Raises
    ------
    InputError
        If the dataset is not here and no number of images is asked for.
    """
    name = study.dataset.name
    named = named_datasets().get(name)
    if planned.images:
        sizes = asked.of(Sizes(images=planned.images, train=0, tune=0, held_out=0, classes=planned.classes))
        return _standing_in(sizes, f"The trial's photos are generated, not those of {name}.", workers, console)
    if named and named.method != "generate" and find_named(name, data) is None:
        if not asked.images:
            raise InputError(
                f"{name} is not here", f"shelfbench fetch {name}, or --images N to plan with generated photos"
            )
        classes = study.split.categories or _CATEGORIES
        sizes = Sizes(images=100, train=80, tune=5, held_out=20, classes=classes).scaled(asked.images)
        sizes = asked.of(replace(sizes, products=round(asked.images / 1.74), held_products=round(asked.images / 8.7)))
        note = f"{name} is not here: photos are generated, {sizes.classes:,} categories are assumed."
        return _standing_in(sizes, note, workers, console)
    if named and named.method == "generate" and not is_drawn(study.generated):
        assortment = draw_assortment(study.generated)
        if len(assortment.truth) > _DRAWN:
            return _undrawn(study, assortment.labels, asked, workers, console)
    dataset = replace(study.dataset, photos=study.dataset.photos and study.needs_photos)
    open_dataset(dataset, study.generated, data, workers, console)  # draws and indexes what the run will find
    with Undisturbed() as opening:
        catalogue, _ = open_dataset(dataset, study.generated, data, workers, console)
    with Undisturbed() as splitting:
        material = _split(catalogue, study)
    per_product = max(1, len(catalogue.product_id))
    sizes = replace(counted(material), photo_bytes=_bytes(catalogue) if study.needs_photos else 0.0)
    return PlannedPhotos(
        catalogue=catalogue,
        material=material,
        sizes=asked.of(sizes),
        scaled=bool(asked),
        whole=True,
        fit=study.images.fit,
        opening=opening.seconds / per_product,
        splitting=splitting.seconds / per_product,
    )


def _split(catalogue: Catalogue, study: Study) -> Material:
    # finding equal images means reading all of them, and changes the sizes little
    distinct = np.zeros((len(catalogue.images), 2), np.int64)
    distinct[:, 0] = np.arange(len(distinct))
    return gather(catalogue, make_split(catalogue, study.split, study.seed, distinct.view(DIGEST).ravel()))


def _bytes(catalogue: Catalogue) -> float:
    """Return the mean size of some encoded photos."""
    images = catalogue.images
    chosen = np.sort(np.random.default_rng(1).permutation(len(images))[:_SEEN])
    return float(np.mean([len(data) for data in images.read(chosen)]))


def _standing_in(sizes: Sizes, note: str, workers: int, console: Console) -> PlannedPhotos:
    few = GeneratorSettings(products=160, categories=8)
    catalogue, _ = open_dataset(DatasetSettings(name="generated"), few, None, workers, console)
    sizes = replace(sizes, photo_bytes=_bytes(catalogue))
    return PlannedPhotos(catalogue=catalogue, material=None, sizes=sizes, scaled=True, notes=(note,))


class _NotDrawn:
    """The photos of a catalogue that is not drawn yet."""

    files: tuple[Path, ...] = ()

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Nothing can be read."""
        raise ValueError("these photos are not drawn yet")

    def where(self, index: int) -> str:
        """Name a photo by its number."""
        return f"photo {index}"

    def identity(self) -> bytes | None:
        """Its photos have none."""
        return None


def _undrawn(study: Study, labels: np.ndarray, asked: Asked, workers: int, console: Console) -> PlannedPhotos:
    """Plan for a generated catalogue that is not drawn yet, without drawing it: its sizes are known."""
    settings = study.generated
    shares = np.array(PHOTOS[: settings.max_photos])
    photos = np.random.default_rng(settings.seed).choice(len(shares), len(labels), p=shares / shares.sum()) + 1
    categories = tuple(Category(key=str(code), name=str(code)) for code in range(int(labels.max()) + 1))
    catalogue = Catalogue(
        name="generated",
        categories=categories,
        product_id=np.arange(len(labels)),
        product_category=labels.astype(np.int32),
        image_product=np.repeat(np.arange(len(labels), dtype=np.int32), photos),
        images=_NotDrawn(int(photos.sum())),
    )
    with Undisturbed() as splitting:
        material = _split(catalogue, study)
    few = replace(
        settings, products=max(_FEW, settings.departments), categories=max(8, settings.departments), counts=""
    )
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), few, Console(quiet=True))  # libraries start, and caches fill
        with Undisturbed() as drawing:
            generate(Path(folder), few, Console(quiet=True))
    sample, _ = open_dataset(DatasetSettings(name="generated"), replace(few, products=1200), None, workers, console)
    drawn = few.products * float((np.arange(len(shares)) + 1) @ shares / shares.sum())
    return PlannedPhotos(
        catalogue=sample,
        material=material,
        sizes=asked.of(replace(counted(material), photo_bytes=_bytes(sample))),
        scaled=bool(asked),
        fit=study.images.fit,
        drawing=drawing.seconds / drawn / max(1, workers),
        splitting=splitting.seconds / len(labels),
        notes=(
            f"The catalogue of {len(labels):,} products is not drawn yet; the trial's photos are 1,200 products of it.",
        ),
    )
