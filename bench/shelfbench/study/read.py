"""A study: one TOML file, validated; what to run on what."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.base.storage import fingerprint
from shelfbench.data.images import ImageSettings
from shelfbench.data.sources.tables import DatasetSettings
from shelfbench.data.split import SplitSettings
from shelfbench.generator import GeneratorSettings
from shelfbench.plugins.backend import BackboneChoice, available, find, split_name
from shelfbench.plugins.experiment import experiments, find_experiment
from shelfbench.verdict.settings import VerdictSettings

STUDIES = Path(__file__).parent


@dataclass(frozen=True)
class ReportSettings:
    """The section ``report`` of a study.

    Attributes
    ----------
    pictures : bool
        Whether pictures of the products may stand in figures and page.
    targets : tuple of float
        Precisions at which the table of metrics gives acceptance; Table 4's .9 is always among them.
    near_duplicates : {'auto', 'report', 'off'}
        Whether products with nearly the same photo are sought across the parts of the split; it takes one more reading
        of every image, so 'auto' does it up to 300,000 images. No prediction depends on it.
    """

    pictures: bool = True
    targets: tuple[float, ...] = (0.9,)
    near_duplicates: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        from shelfbench.verdict.metrics import exact_target

        if not self.targets or any(
            isinstance(target, bool) or not isinstance(target, (int, float)) or not 0 < target <= 1
            for target in self.targets
        ):
            raise InputError(
                f"report.targets is {list(self.targets)}", "give precisions above 0 and up to 1, like [0.9, 0.95]"
            )
        for target in self.targets:
            exact_target(str(target))
        if self.near_duplicates not in ("auto", "report", "off"):
            raise InputError(f"report.near_duplicates is {self.near_duplicates!r}", "choose auto, report or off")

    def seeks_near_duplicates(self, images: int) -> bool:
        """Whether near-duplicates are sought among so many images."""
        return self.near_duplicates == "report" or (self.near_duplicates == "auto" and images <= 300_000)


SECTIONS: dict[str, type] = {
    "dataset": DatasetSettings,
    "generated": GeneratorSettings,
    "split": SplitSettings,
    "images": ImageSettings,
    "verdict": VerdictSettings,
    "report": ReportSettings,
}
ROOT_KEYS = ("title", "seed", "backends", "backbone", "weights", "pixels", "experiment", "variants")


@dataclass(frozen=True)
class Variant:
    """One of the things that an experiment compares: a backend with settings of its own.

    Attributes
    ----------
    name, label : str
        Key, and words for legends and tables.
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


@dataclass(frozen=True)
class Study:
    """A validated study.

    Attributes
    ----------
    name, title : str
    seed : int
    backends : tuple of str
        Names, each with ``@BACKBONE`` where it is not the study's own.
    backbone : BackboneChoice
        The study's own.
    dataset, generated, split, images, verdict, report
        The sections of the harness.
    sections : mapping of str to dataclass instance
        The sections that installed backends and experiments declare.
    experiment : str
        What runs in place of the comparison (see `shelfbench.plugins.experiment`); empty for the comparison.
    variants : tuple of Variant
        What the experiment compares.
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
    experiment: str = ""
    variants: tuple[Variant, ...] = ()

    def record(self) -> dict[str, Any]:
        """Everything set, as JSON; sections that no backend of this study reads are left out."""
        names = [*self.backends, *(variant.backend for variant in self.variants)]
        used = {section for name in names for section in find(split_name(name, self.backbone)[0]).sections}
        if self.experiment:
            used |= set(find_experiment(self.experiment).sections)
        result: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "seed": self.seed,
            "backends": list(self.backends),
            "backbone": self.backbone.name,
            "weights": self.backbone.weights,
            "pixels": self.backbone.pixels,
        }
        for section in SECTIONS:
            if section != "generated" or self.dataset.name == "generated":
                result[section] = dataclasses.asdict(getattr(self, section))
        if not self.dataset.labels:
            del result["dataset"]["labels"]  # of experiments on several labels alone
        for section in sorted(used):
            result[section] = dataclasses.asdict(self.sections[section])
        if self.experiment:
            result["experiment"] = self.experiment
            result["variants"] = {
                variant.name: {
                    "label": variant.label,
                    "figures": list(variant.figures),
                    "backend": variant.backend,
                    **{
                        name: dataclasses.asdict(values)
                        for name, values in variant.sections.items()
                        if values != self.sections[name]
                    },
                }
                for variant in self.variants
            }
        return result

    def results_hash(self) -> str:
        """Hash of all that can change a prediction: not the title, the report's settings, or which backends run."""
        record = {
            key: value for key, value in self.record().items() if key not in ("name", "title", "report", "backends")
        }
        record["verdict"] = {key: value for key, value in record["verdict"].items() if key != "confidence_level"}
        return fingerprint({**record, **{name: dataclasses.asdict(values) for name, values in self.sections.items()}})


def study_names() -> list[str]:
    """Names of the studies that come with shelfbench."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def _suggest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]!r}? known: {', '.join(known)}" if close else f"known: {', '.join(known)}"


def _value(value: Any, default: Any, where: str) -> Any:
    """Check a value against the type of its default."""
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        raise InputError(f"{where} is {value!r}", "give true or false")
    if isinstance(default, int):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise InputError(f"{where} is {value!r}", "give a whole number")
    if isinstance(default, float):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        raise InputError(f"{where} is {value!r}", "give a number")
    if isinstance(default, str):
        if isinstance(value, str):
            return value
        raise InputError(f"{where} is {value!r}", "give text in quotes")
    if isinstance(default, tuple):
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        return tuple(_value(item, default[0] if default else "", where) for item in values)
    return value


def build_section(kind: type, table: Any, section: str, source: str) -> Any:
    """Build the settings of one section.

    Parameters
    ----------
    kind : type
        A dataclass with defaults.
    table : dict
        What the study says.
    section, source : str
        For messages.

    Raises
    ------
    InputError
        If a key is unknown or a value of the wrong type.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{source}: {section} is {table!r}, and is a section", f"write {section}.KEY = VALUE")
    defaults = {item.name: item.default for item in dataclasses.fields(kind)}
    for key in table:
        if key not in defaults:
            raise InputError(f"{source}: unknown key {section}.{key}", _suggest(key, list(defaults)))
    return kind(**{key: _value(value, defaults[key], f"{source}: {section}.{key}") for key, value in table.items()})


def parse_setting(text: str) -> tuple[list[str], Any]:
    """Read one ``--set KEY=VALUE``: a TOML value, or plain text where it is none."""
    if "\n" in text or len(text) > 10_000:
        raise InputError(f"--set {text[:40]!r} ... is no KEY=VALUE", "write one setting on one line")
    key, equals, raw = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path) or len(path) > 2:
        raise InputError(f"--set {text!r} is no KEY=VALUE", "write for example --set split.min_products=10")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except (ValueError, RecursionError):
        value = raw.strip()
    return path, value


def _declared_sections() -> dict[str, type]:
    """Sections of the installed backends and experiments; one that cannot be imported fails when it is asked for."""
    sections: dict[str, type] = {}
    for name in (*available(), *experiments()):
        try:
            declared = (find(name) if name in available() else find_experiment(name)).sections
        except ShelfbenchError:
            continue
        for section, kind in declared.items():
            if section in SECTIONS or section in ROOT_KEYS or sections.get(section, kind) is not kind:
                raise InputError(
                    f"{name!r} declares the section {section!r}, which is taken",
                    "rename it in the package that brings it",
                )
            sections[section] = kind
    return sections


def read_study(source: str, overrides: Sequence[tuple[list[str], Any]] = ()) -> Study:
    """Read and validate a study.

    Parameters
    ----------
    source : str
        A name in ``bench/shelfbench/study``, or the path of a TOML file.
    overrides : sequence of (path, value)
        Settings that replace the file's, in order (see `parse_setting`).

    Raises
    ------
    InputError
        If it is not there, is no TOML, or says something unknown; key and remedy are named.
    """
    path = STUDIES / f"{source}.toml"
    if not path.exists() or source.endswith(".toml"):
        path = Path(source).expanduser()
        if not path.is_file():
            raise InputError(
                f"no study {source!r}", f"choose from {', '.join(study_names())}, or give the path of a TOML file"
            )
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # TOML's and UTF-8's errors are ValueErrors, as is a number too long
        raise InputError(f"{path} is no TOML: {str(error)[:200]}", "correct it") from None
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its rights") from None
    name = path.stem
    known = {**SECTIONS, **_declared_sections()}
    text_keys = {("dataset", item.name) for item in dataclasses.fields(DatasetSettings)} | {
        ("", "weights"),
        ("", "backbone"),
    }
    for keys, value in overrides:
        target, key = (tables, keys[0]) if len(keys) == 1 else (tables.setdefault(keys[0], {}), keys[1])
        if not isinstance(target, dict):
            raise InputError(f"--set {'.'.join(keys)}: {keys[0]} is no section", f"sections: {', '.join(known)}")
        as_text = ("" if len(keys) == 1 else keys[0], key) in text_keys and isinstance(value, (int, float))
        target[key] = str(value) if as_text else value
    label = str(path) if path.parent != STUDIES else f"study {name}"
    for key in tables:
        if key not in known and key not in ROOT_KEYS:
            raise InputError(f"{label}: unknown key {key!r}", _suggest(key, [*ROOT_KEYS, *known]))
    backends = _value(tables.get("backends", []), ("",), f"{label}: backends")
    experiment = _value(tables.get("experiment", ""), "", f"{label}: experiment")
    if experiment:
        find_experiment(experiment)
    elif not backends:
        raise InputError(f"{label} names no backend", 'add backends = ["hog-svm", ...] or --backend NAME')
    if len(set(backends)) != len(backends):
        raise InputError(f"{label} names a backend twice", "name each once")
    pixels = tables.get("pixels")
    backbone = BackboneChoice(
        _value(tables.get("backbone", "efficientnet_lite0"), "", f"{label}: backbone"),
        _value(tables.get("weights", "imagenet"), "", f"{label}: weights"),
        None if pixels is None else _value(pixels, 0, f"{label}: pixels"),
    )
    seed = _value(tables.get("seed", 0), 0, f"{label}: seed")
    if not 0 <= seed < 2**32:
        raise InputError(f"{label}: seed is {seed}", "give a whole number from 0 to 4294967295")
    for backend in backends:
        base, _ = split_name(backend, backbone)
        if "@" in backend and not find(base).uses_backbone:
            raise InputError(f"backend {backend!r}: {base} uses no backbone", f"write {base}")
        find(base)
    built = {section: build_section(kind, tables.get(section, {}), section, label) for section, kind in known.items()}
    return Study(
        name,
        _value(tables.get("title", name), "", f"{label}: title"),
        seed,
        backends,
        backbone,
        **{section: built[section] for section in SECTIONS},
        sections=(sections := {section: built[section] for section in known if section not in SECTIONS}),
        experiment=experiment,
        variants=_variants(tables.get("variants", {}), sections, backbone, label),
    )


def _variants(tables: Any, sections: Mapping[str, Any], backbone: BackboneChoice, label: str) -> tuple[Variant, ...]:
    """Read ``[variants.NAME]``: label, figures, backend, and sections whose keys replace the study's own."""
    if not isinstance(tables, Mapping):
        raise InputError(f"{label}: variants is {tables!r}", "write [variants.NAME]")
    variants = []
    for name, table in tables.items():
        where = f"{label}: variants.{name}"
        if not isinstance(table, Mapping) or "backend" not in table:
            raise InputError(f"{where} names no backend", 'add backend = "NAME"')
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise InputError(f"{where}: the name is a file's too", "use letters, digits, '.', '_' and '-'")
        changed = dict(sections)
        for key, values in table.items():
            if key in ("label", "figures", "backend"):
                continue
            if key not in sections:
                raise InputError(f"{where}: unknown key {key!r}", _suggest(key, ["label", "figures", *sections]))
            kind = type(sections[key])
            own = {item.name: getattr(sections[key], item.name) for item in dataclasses.fields(kind)}
            if not isinstance(values, Mapping):
                raise InputError(f"{where}.{key} is {values!r}, and is a section", f"write {key} = {{ KEY = VALUE }}")
            changed[key] = build_section(kind, {**own, **values}, key, where)
        backend = _value(table["backend"], "", f"{where}.backend")
        find(split_name(backend, backbone)[0])
        variants.append(
            Variant(
                name,
                _value(table.get("label", name), "", f"{where}.label"),
                _value(table.get("figures", ()), ("",), f"{where}.figures"),
                backend,
                changed,
            )
        )
    return tuple(variants)
