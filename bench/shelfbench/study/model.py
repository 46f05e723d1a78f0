"""A study as data: its settings, the backends that it compares, and its entry in a run's record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.storage import fingerprint
from shelfbench.data.embedding_names import source_of
from shelfbench.data.images import ImageSettings
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import SplitSettings
from shelfbench.generator import GeneratorSettings
from shelfbench.plugins.backend import EARLIER, BackboneChoice, BackendSpec, HeadSettings, as_record
from shelfbench.plugins.finding import find, head_of, split_name
from shelfbench.verdict.costs import Prices
from shelfbench.verdict.metrics import exact_target
from shelfbench.verdict.settings import VerdictSettings


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The section ``report`` of a study.

    Attributes
    ----------
    pictures : bool
        Whether figures and the page may show photos of the products.
    targets : tuple of float
        Precisions at which the table of metrics shows the acceptance; Table 4's 0.9 is always included.
    near_duplicates : {'auto', 'report', 'off'}
        Whether to look for products with nearly the same photo in different parts of the split. This reads every image
        once more, so 'auto' does it for up to 300,000 images. No prediction depends on it.
    papers : bool
        Whether the page sets the two papers' numbers beside the run's, as the studies that reproduce them do.
    review_cost, error_cost, price : float
        What a review and an error cost, per product, and an hour of the machine, in any one currency; 0 where that is
        not said. The page then says which threshold costs least (`shelfbench.verdict.costs`).
    out_of_fold : int
        Parts into which train is cut so that the labels of train can be looked at too: each part is scored by a
        classifier fitted on the others, which takes as long as fitting that many times. 0 leaves train out.
    """

    pictures: bool = True
    targets: tuple[float, ...] = (0.9,)
    near_duplicates: str = "auto"
    papers: bool = False
    review_cost: float = field(default=0.0, metadata={EARLIER: 0.0})
    error_cost: float = field(default=0.0, metadata={EARLIER: 0.0})
    price: float = field(default=0.0, metadata={EARLIER: 0.0})
    out_of_fold: int = field(default=0, metadata={EARLIER: 0})

    def __post_init__(self) -> None:
        """Validate the settings."""
        if not self.targets or any(not 0 < target <= 1 for target in self.targets):
            raise InputError(
                f"report.targets is {list(self.targets)}", "give precisions above 0 and up to 1, like [0.9, 0.95]"
            )
        for target in self.targets:
            exact_target(str(target))
        if self.near_duplicates not in ("auto", "report", "off"):
            raise InputError(f"report.near_duplicates is {self.near_duplicates!r}", "choose auto, report or off")
        Prices.of(*(value or None for value in (self.review_cost, self.error_cost, self.price)))
        if self.out_of_fold != 0 and not 2 <= self.out_of_fold <= 20:
            raise InputError(f"report.out_of_fold is {self.out_of_fold}", "give 0, or a number of parts from 2 to 20")

    def seeks_near_duplicates(self, images: int) -> bool:
        """Whether to look for near-duplicates among this many images."""
        return self.near_duplicates == "report" or (self.near_duplicates == "auto" and images <= 300_000)


SECTIONS: dict[str, type] = {
    "dataset": DatasetSettings,
    "generated": GeneratorSettings,
    "split": SplitSettings,
    "images": ImageSettings,
    "verdict": VerdictSettings,
    "report": ReportSettings,
}
"""Sections of the harness; installed backends and experiments declare further ones."""

# Settings of the section verdict that change a promise, and no prediction.
PROMISE = ("confidence_level", "walk")

# Settings of the section report for which a backend is fitted, so that a finished one cannot take another value.
FITTED = ("out_of_fold",)

ROOT_KEYS = (
    "title",
    "seed",
    "backends",
    "backbone",
    "weights",
    "pixels",
    "features",
    "experiment",
    "variants",
    "heads",
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the things that an experiment compares: a backend with settings of its own.

    Attributes
    ----------
    name, label : str
        Key, and the words for legends and tables.
    figures : tuple of str
        Figures that show it.
    backend : str
    sections : mapping of str to dataclass instance
        As `Study.sections`, with this variant's changes.
    """

    name: str
    label: str
    figures: tuple[str, ...]
    backend: str
    sections: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A validated study, as returned by `shelfbench.study.read.read_study`.

    Attributes
    ----------
    name, title : str
    seed : int
    backends : tuple of str
        Names, each with ``@BACKBONE`` if that is not the study's own.
    backbone : BackboneChoice
        The study's own.
    dataset, generated, split, images, verdict, report
        The sections of the harness.
    sections : mapping of str to dataclass instance
        The sections that installed backends and experiments declare.
    used : tuple of str
        Those of `sections` that this study's backends, variants and experiment read, sorted.
    experiment : str
        Experiment to run instead of the comparison (see `shelfbench.plugins.experiment`); empty for the comparison.
    variants : tuple of Variant
        Variants that the experiment compares.
    on_backbone : bool
        Whether a backend or a variant sits on a backbone, so that the size of its images matters.
    heads : mapping of str to HeadSettings
        The sections ``[heads.NAME]``, which make backends of any features.
    """

    name: str
    title: str
    seed: int
    backends: tuple[str, ...]
    backbone: BackboneChoice
    dataset: DatasetSettings
    generated: GeneratorSettings
    split: SplitSettings
    images: ImageSettings
    verdict: VerdictSettings
    report: ReportSettings
    sections: Mapping[str, Any] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    experiment: str = ""
    variants: tuple[Variant, ...] = ()
    on_backbone: bool = False
    heads: Mapping[str, HeadSettings] = field(default_factory=dict)

    def spec(self, base: str) -> BackendSpec:
        """Find a backend of this study, which may be made of one of its heads.

        Parameters
        ----------
        base : str
            The backend's name without ``@BACKBONE``.

        Returns
        -------
        BackendSpec

        Raises
        ------
        InputError
            If there is none (see `shelfbench.plugins.finding.find`).
        """
        return find(base, self.heads)

    def used_heads(self, backends: Sequence[str] | None = None) -> dict[str, HeadSettings]:
        """Select the heads that backends are made of.

        Parameters
        ----------
        backends : sequence of str, optional
            By default, those of this study and of its variants.

        Returns
        -------
        dict of str to HeadSettings
        """
        names = [*self.backends, *(variant.backend for variant in self.variants)] if backends is None else backends
        used = {head for name in names if (head := head_of(name)) in self.heads}
        return {name: head for name, head in self.heads.items() if name in used}

    @cached_property
    def given(self) -> tuple[str, ...]:
        """Embeddings that backends are given: columns and files, the study's own before others."""
        names = [*self.backends, *(variant.backend for variant in self.variants)]
        found = [source_of(split_name(name, self.backbone)[1].name) for name in names if self._on_given(name)]
        own = source_of(self.backbone.name)
        return tuple(dict.fromkeys([*([own] if own in found else []), *found]))

    @cached_property
    def needs_photos(self) -> bool:
        """Whether anything in this study computes features of photos."""
        names = [*self.backends, *(variant.backend for variant in self.variants)]
        return not names or not all(map(self._on_given, names))

    def _on_given(self, name: str) -> bool:
        base, backbone = split_name(name, self.backbone)
        return bool(source_of(backbone.name)) and self.spec(base).uses_backbone

    def record(self) -> dict[str, Any]:
        """All settings, as JSON, except sections and heads that nothing in this study reads."""
        result: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "seed": self.seed,
            "backends": list(self.backends),
            "backbone": self.backbone.name,
            "weights": self.backbone.weights,
            "pixels": "auto" if self.backbone.pixels is None and self.on_backbone else self.backbone.pixels,
        }
        for section in SECTIONS:
            if section != "generated" or self.dataset.name == "generated":
                result[section] = as_record(getattr(self, section))
        for later in (
            "labels",
            "file_name",
            "folders",
            "photos",
        ):  # earlier records lack these: a run without them is the same run
            if getattr(self.dataset, later) == getattr(DatasetSettings(), later):
                del result["dataset"][later]
        if not self.images.scaled:
            del result["images"]["scaled"]
        if self.images.features == ImageSettings().features:
            del result["images"]["features"]
        # a section that came later says nothing of a run that leaves it alone
        result |= {name: values for name in self.used if (values := as_record(self.sections[name]))}
        if used := self.used_heads():
            result["heads"] = {name: dataclasses.asdict(head) for name, head in used.items()}
        if self.experiment:
            result["experiment"] = self.experiment
            result["variants"] = {
                variant.name: {
                    "label": variant.label,
                    "figures": list(variant.figures),
                    "backend": variant.backend,
                    **{
                        name: as_record(values)
                        for name, values in variant.sections.items()
                        if values != self.sections[name]
                    },
                }
                for variant in self.variants
            }
        del result["dataset"]["retry"]  # it is about a moment; what it brings shows in the hash of the data
        return result

    def results_hash(self) -> str:
        """Hash what changes the files of a backend: not the title, which backends run, or what only the page shows.

        Nor the heads of backends, so that a run may go on with another one; a run directory compares those that it
        has results of by themselves (`shelfbench.runs.recorder`).
        """
        record = {
            key: value
            for key, value in self.record().items()
            if key not in ("name", "title", "report", "backends", "heads")
        }
        if heads := self.used_heads([variant.backend for variant in self.variants]):
            record["heads"] = {name: dataclasses.asdict(head) for name, head in heads.items()}
        record["verdict"] = {key: value for key, value in record["verdict"].items() if key not in PROMISE}
        if fitted := {key: value for key, value in as_record(self.report).items() if key in FITTED}:
            record["report"] = fitted
        sections = {name: values for name, section in self.sections.items() if (values := as_record(section))}
        return fingerprint({**record, **sections})

    def tables(self) -> dict[str, Any]:
        """All settings, as the tables of a TOML file that describes this study."""
        result: dict[str, Any] = {
            "title": self.title,
            "seed": self.seed,
            "backends": list(self.backends),
            "backbone": self.backbone.name,
            "weights": self.backbone.weights,
            "experiment": self.experiment,
            **({} if self.backbone.pixels is None else {"pixels": self.backbone.pixels}),
            **{section: dataclasses.asdict(getattr(self, section)) for section in SECTIONS},
            **{section: dataclasses.asdict(values) for section, values in self.sections.items()},
        }
        result["heads"] = {name: dataclasses.asdict(head) for name, head in self.heads.items()}
        result["variants"] = {
            variant.name: {
                "label": variant.label,
                "figures": list(variant.figures),
                "backend": variant.backend,
                **{
                    name: changed
                    for name, values in variant.sections.items()
                    if (changed := _differences(dataclasses.asdict(values), result[name]))
                },
            }
            for variant in self.variants
        }
        return result


def _differences(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value != others[key]}
