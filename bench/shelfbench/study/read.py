"""Reading a study: a TOML file, settings that replace the file's, and the sections that plug-ins declare."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.base.public_arguments import path_argument
from shelfbench.data.embedding_names import PREFIX, source_of
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.plugins.backend import BackboneChoice, BackendSpec, FeaturesSpec
from shelfbench.plugins.experiment import ExperimentSpec, experiments, find_experiment
from shelfbench.plugins.finding import FEATURES, HEADS, available, find, find_features, find_head, split_name
from shelfbench.plugins.heads import HeadSpec
from shelfbench.study.heads import check_heads, read_heads
from shelfbench.study.model import ROOT_KEYS, SECTIONS, Study, Variant
from shelfbench.study.overrides import Override
from shelfbench.study.sections import build_section, check_recordable, suggest, value_of

STUDIES = Path(__file__).parent
DEFAULT = BackboneChoice().name
OWN = "own"
"""The study of a dataset for which none is named."""

_STRINGS = tuple[str, ...]
_TEXT_KEYS = {("dataset", item.name) for item in dataclasses.fields(DatasetSettings) if item.type != "bool"} | {
    ("", "weights"),
    ("", "backbone"),
    ("", "features"),
}
"""Settings that are text: ``--set dataset.name=2017`` means the text, not the number."""


def study_names() -> list[str]:
    """List the studies that come with shelfbench."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def read_study(source: str | Path | Study, overrides: Sequence[Override] = ()) -> Study:
    """Read and validate a study.

    Parameters
    ----------
    source : str, Path or Study
        The name of a study that comes with shelfbench, the path of a TOML file, or a study to change.
    overrides : sequence of (path, value)
        Settings that replace the file's, in order (see `shelfbench.study.overrides`).

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If it does not exist, is not TOML, or contains something unknown; the message names the key and a remedy.
    """
    if isinstance(source, Study):
        name, label, tables = source.name, f"study {source.name}", source.tables()
    else:
        path = _study_path(source)
        name, label = path.stem, str(path) if path.parent != STUDIES else f"study {path.stem}"
        tables = _parse(path)
    known = {**SECTIONS, **_declared_sections()}
    before = _dataset_of(tables)
    _apply(tables, overrides, list(known))
    if _dataset_of(tables) != before and not any(keys == ["report", "papers"] for keys, _ in overrides):
        # what a study says about the papers' numbers, it says about the data that it names
        _apply(tables, [(["report", "papers"], False)], list(known))
    for key in tables:
        if key not in known and key not in ROOT_KEYS:
            raise InputError(f"{label}: unknown key {key!r}", suggest(key, [*ROOT_KEYS, *known]))
    check_recordable(tables, label)
    return _build(name, label, tables, known)


def _study_path(source: str | Path) -> Path:
    path_argument("no name" if source == "" else source, "study")
    path = STUDIES / f"{source}.toml"
    if not path.exists() or str(source).endswith(".toml"):
        path = Path(source).expanduser()
        if path.exists() and path.suffix.lower() != ".toml":  # of products, most likely
            raise InputError(f"no study {str(source)!r}", f"if it contains your products: --dataset {source}")
        if not path.is_file():
            raise InputError(
                f"no study {str(source)!r}", f"choose from {', '.join(study_names())}, or give the path of a TOML file"
            )
    return path


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors are ValueErrors, as is an overlong number's
        raise InputError(f"{path} is not TOML: {str(error)[:200]}", "correct it") from None
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its permissions") from None


def _dataset_of(tables: Mapping[str, Any]) -> Any:
    section = tables.get("dataset")
    return section.get("name") if isinstance(section, Mapping) else None


def _apply(tables: dict[str, Any], overrides: Sequence[Override], sections: Sequence[str]) -> None:
    """Replace what a study says by the overrides; a backbone and given features replace each other."""
    set_here = {keys[0] for keys, _ in overrides if len(keys) == 1}
    for key, other in (("backbone", "features"), ("features", "backbone")):
        if key in set_here and other not in set_here:
            tables.pop(other, None)
    for keys, value in overrides:
        target, key = tables, keys[-1]
        for depth, name in enumerate(keys[:-1]):
            target = target.setdefault(name, {})
            if not isinstance(target, dict):
                raise InputError(
                    f"setting {'.'.join(keys)}: {'.'.join(keys[: depth + 1])} is not a section",
                    f"sections: {', '.join(sections)}",
                )
        as_text = ("" if len(keys) == 1 else keys[0], key) in _TEXT_KEYS and isinstance(value, (int, float))
        target[key] = str(value) if as_text else value


def _build(name: str, label: str, tables: Mapping[str, Any], known: Mapping[str, type]) -> Study:
    """Build a study from tables whose keys are known."""
    backends = value_of(tables.get("backends", []), _STRINGS, f"{label}: backends")
    experiment = value_of(tables.get("experiment", ""), str, f"{label}: experiment")
    if experiment == "comparison":  # the experiment of a study that names none
        experiment = ""
    if not experiment and not backends:
        raise InputError(f"{label} names no backend", 'add backends = ["hog-svm", ...] or --backend NAME')
    if len(set(backends)) != len(backends):
        raise InputError(f"{label} names a backend twice", "name each once")
    used = set(find_experiment(experiment).sections) if experiment else set()
    backbone = BackboneChoice(
        _backbone(tables, label),
        value_of(tables.get("weights", "imagenet"), str, f"{label}: weights"),
        _pixels(tables.get("pixels", "auto"), label),
    )
    heads = read_heads(tables.get("heads", {}), label)
    seed = value_of(tables.get("seed", 0), int, f"{label}: seed")
    if not 0 <= seed < 2**32:
        raise InputError(f"{label}: seed is {seed}", "give a whole number from 0 to 4294967295")
    on_backbone = False
    for backend in backends:
        base, _ = split_name(backend, backbone)
        spec = find(base, heads)
        on_backbone |= spec.uses_backbone
        if "@" in backend and not spec.uses_backbone:
            raise InputError(f"backend {backend!r}: {base} uses no backbone", f"write {base}")
        used |= set(spec.sections)
    built = {section: build_section(kind, tables.get(section, {}), section, label) for section, kind in known.items()}
    sections = {section: built[section] for section in known if section not in SECTIONS}
    variants = _variants(tables.get("variants", {}), sections, backbone, label)
    for variant in variants:
        spec = find(split_name(variant.backend, backbone)[0], heads)
        on_backbone |= spec.uses_backbone
        used |= set(spec.sections)
    study = Study(
        name=name,
        title=value_of(tables.get("title", name), str, f"{label}: title"),
        seed=seed,
        backends=backends,
        backbone=backbone,
        **{section: built[section] for section in SECTIONS},
        sections=sections,
        used=tuple(sorted(used)),
        experiment=experiment,
        variants=variants,
        on_backbone=on_backbone,
        heads=heads,
    )
    check_heads(study.used_heads(), label)
    return study


def _backbone(tables: Mapping[str, Any], label: str) -> str:
    """Read the backbone; ``features = X`` is short for the backbone ``features:X``."""
    given = value_of(tables.get("features", ""), str, f"{label}: features")
    if "features" in tables:
        source_of(f"{PREFIX}{given}")
    if given and "backbone" in tables and tables["backbone"] != f"features:{given}":
        raise InputError(
            f"{label}: both backbone and features are given",
            f"keep one; for a backend on other features than the study's, write NAME@features:{given}",
        )
    return f"features:{given}" if given else value_of(tables.get("backbone", DEFAULT), str, f"{label}: backbone")


def _pixels(value: Any, label: str) -> int | None:
    """Read the size of the images; None leaves it to the photos."""
    if value == "auto":
        return None
    try:
        return int(value_of(value, int, f"{label}: pixels"))
    except InputError as error:
        raise InputError(error.message, 'give a whole number, or "auto" for the size of the photos') from None


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
            raise InputError(f"{where}: the name is also the name of a file", "use letters, digits, '.', '_' and '-'")
        changed = dict(sections)
        for key, values in table.items():
            if key in ("label", "figures", "backend"):
                continue
            if key not in sections:
                raise InputError(f"{where}: unknown key {key!r}", suggest(key, ["label", "figures", *sections]))
            kind = type(sections[key])
            own = {item.name: getattr(sections[key], item.name) for item in dataclasses.fields(kind)}
            if not isinstance(values, Mapping):
                raise InputError(
                    f"{where}.{key} is {values!r}, but it must be a section", f"write {key} = {{ KEY = VALUE }}"
                )
            changed[key] = build_section(kind, {**own, **values}, key, where)
        backend = value_of(table["backend"], str, f"{where}.backend")
        variants.append(
            Variant(
                name=name,
                label=value_of(table.get("label", name), str, f"{where}.label"),
                figures=value_of(table.get("figures", ()), _STRINGS, f"{where}.figures"),
                backend=backend,
                sections=changed,
            )
        )
    return tuple(variants)


def _declared_sections() -> dict[str, type]:
    """Collect the sections of installed plug-ins; one that cannot be imported fails only when it is used."""
    sections: dict[str, type] = {}
    loaders: list[tuple[str, Callable[[str], BackendSpec | FeaturesSpec | HeadSpec | ExperimentSpec]]] = [
        *((name, find) for name in available()),
        *((name, find_features) for name in available(FEATURES)),
        *((name, find_head) for name in available(HEADS)),
        *((name, find_experiment) for name in experiments()),
    ]
    for name, load in loaders:
        try:
            declared = load(name).sections
        except ShelfbenchError:
            continue
        for section, kind in declared.items():
            if section in SECTIONS or section in ROOT_KEYS or sections.get(section, kind) is not kind:
                raise InputError(
                    f"{name!r} declares the section {section!r}, which is taken",
                    "rename it in the package that declares it",
                )
            sections[section] = kind
    return sections
