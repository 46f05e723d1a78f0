"""The kinds of entries in the cache: what each is, what it consists of, and what makes it again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.storage import load_json
from shelfbench.base.using import HASHED

_HASH = "[0-9a-f]{32}"
_ANY = re.compile(r".+", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A folder of the cache.

    Attributes
    ----------
    folder : str
    title : str
        What an entry of it is.
    again : str
        What makes an entry again.
    name : pattern
        Names of entries; anything else is not the cache's own.
    inside : pattern
        Files of an entry that is a folder, by their path in it.
    about : callable
        From an entry to what it is called in a list.
    single : bool
        Whether entries are files, which are listed together, and not folders.
    fetched : bool
        Whether it is a download, whose note names its files.
    kept : str
        Why entries are never removed; empty for those that may be.
    """

    folder: str
    title: str
    again: str
    name: re.Pattern[str]
    inside: re.Pattern[str] = _ANY
    about: Callable[[Path], str] = lambda path: path.name
    single: bool = False
    fetched: bool = False
    kept: str = ""


def known(path: Path) -> dict[str, Any]:
    """Read an object in JSON; an empty one if there is none."""
    try:
        found = load_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _features(folder: Path) -> str:
    key = known(folder / "key.json")
    name = str(key.get("extractor", folder.name.rpartition("-")[0]))
    if name == "fingerprint":
        return "fingerprints of photos, which find near-duplicates"
    settings = key.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    pixels = [f"{key['pixels']} px"] if "pixels" in key else []
    return ", ".join([name, *pixels, *([str(settings["precision"])] if "precision" in settings else [])])


def _generated(folder: Path) -> str:
    made = known(folder / "generator.json")
    if not {"products", "categories", "seed"} <= set(made):
        return folder.name
    return f"{made['products']:,} products, {made['categories']} categories, seed {made['seed']}"


def _named(folder: Path) -> str:
    from urllib.parse import unquote

    return unquote(folder.name.rpartition("-")[0])


def _repository(folder: Path) -> str:
    return f"hf:{folder.name.replace('--', '/', 1)}"


def _origin(folder: Path) -> str:
    try:
        return (folder / ".origin").read_text(encoding="utf-8").strip() or folder.name
    except OSError:
        return folder.name


_SEGMENTS = re.compile(
    rf"(key|{_HASH})\.json|{_HASH}\.(features|digests)\.npy|selections/{_HASH}\.(npy|json)|going/[^/]+"
)
_TRAINED = re.compile(
    r"checkpoint\.safetensors|epochs-[^/]+/(network\.(safetensors|json)|tuned\.json|history\.parquet)|tensorboard/.+"
)
# What the hub's own package leaves in a folder.
_OF_PACKAGE = re.compile(r"([^/]+/)?\.cache/huggingface/.+", re.DOTALL)
KINDS = (
    Kind(
        folder="features",
        title="features",
        again="the next run with this network and these photos",
        name=HASHED,
        inside=_SEGMENTS,
        about=_features,
    ),
    Kind(
        folder="generated",
        title="generated catalogue",
        again="the next run with these settings draws it",
        name=re.compile(_HASH),
        inside=re.compile(r"generator\.json|train\.bson|(category_names|truth)\.csv"),
        about=_generated,
    ),
    Kind(
        folder="datasets",
        title="dataset",
        again="shelfbench fetch NAME downloads it",
        name=re.compile(r"[\w-]+"),
        inside=_OF_PACKAGE,
        fetched=True,
    ),
    Kind(
        folder="hub",
        title="dataset of Hugging Face",
        again="the next run with this name downloads it",
        name=re.compile(r"[\w.-]+"),
        inside=_OF_PACKAGE,
        fetched=True,
        about=_repository,
    ),
    Kind(
        folder="elsewhere",
        title="copy of a table or store",
        again="the next run with this address copies it",
        name=re.compile(_HASH),
        inside=_ANY,
        about=_origin,
    ),
    Kind(
        folder="downloads",
        title="photos behind links",
        again="the next run with a table of links fetches them",
        name=re.compile("downloads"),
        inside=re.compile(r"[0-9a-f]{2}/[0-9a-f]{40}(\.[a-z]+)?"),
        about=lambda folder: "of all tables",
    ),
    Kind(
        folder="tuned",
        title="trained network",
        again="the next run trains it, for hours",
        name=HASHED,
        inside=_TRAINED,
        about=_named,
    ),
    Kind(
        folder="int8",
        title="network in int8",
        again="the next run quantises it, in minutes",
        name=HASHED,
        inside=re.compile(r"network(-int8\.safetensors|\.json)"),
        about=_named,
    ),
    Kind(
        folder="indexes",
        title="index of a catalogue",
        again="the next run reads the file once more",
        name=re.compile(rf"{_HASH}\.(npz|parquet|sha256)"),
        single=True,
    ),
    Kind(
        folder="digests",
        title="hashes of photos",
        again="the next run reads the photos once more",
        name=re.compile(rf"{_HASH}\.npz"),
        single=True,
    ),
    Kind(
        folder="plans",
        title="trial measurement",
        again="the next plan measures it, in a minute",
        name=re.compile(rf"{_HASH}\.json"),
        single=True,
    ),
    Kind(
        folder="converted",
        title="trial of a network of timm",
        again="the next run tries it",
        name=re.compile(rf"{_HASH}\.json"),
        single=True,
    ),
    Kind(
        folder="spread",
        title="work given to other processes",
        again="",
        name=re.compile(_HASH),
        inside=_ANY,
        kept="goes with the command that made it",
    ),
    Kind(
        folder="locks",
        title="lock",
        again="",
        name=re.compile(rf"{_HASH}\.lock"),
        single=True,
        kept="shows running commands what others do",
    ),
)
