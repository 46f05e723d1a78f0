"""A fitted estimator on disk: ``classifier.skops`` and ``classifier.json``, which a stranger may have written.

skops rebuilds an object from a list of classes and arrays. It runs no code of the file's, but by itself it reads
archives of any size, trusts all of scikit-learn, and hands arrays to compiled code that does not check them. So
everything is checked first: the archive, the structure (only the kinds of nodes and the classes that are listed here),
and the header of every array; and then, before it is used, what compiled code would index with
(`shelfbench.plugins.saved_content`).
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, ShelfbenchError, first_line
from shelfbench.base.storage import write_json, write_whole
from shelfbench.plugins.same_bytes import dump
from shelfbench.plugins.saved_classes import CLASSES, prepared
from shelfbench.plugins.saved_content import check_content

if TYPE_CHECKING:
    from shelfbench.plugins.estimator_head import EstimatorHead

SKOPS, RECORD = "classifier.skops", "classifier.json"
_PROTOCOL = 2
_MIB = 1 << 20
# The structure of 10,000 trees takes about 30 MiB.
_MOST_SCHEMA = 64 * _MIB
_MOST_RECORD = 4 * _MIB
_MOST_CLASSES, _MOST_DIMENSIONS = 1_000_000, 5_000_000
_SCHEMA = "schema.json"
_MEMBER = re.compile(r"[0-9a-f-]{1,40}\.(npy|bin)")
_PRIMITIVES = {f"builtins.{name}" for name in ("str", "int", "float", "bool")}
_NUMBERS = {
    f"numpy.{name}"
    for name in (
        *("bool", "bool_", "str_", "intp", "float16", "float32", "float64"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
}
# Kinds of nodes that skops knows, and the classes that each may have; those of objects are a list of their own.
_NODES = {
    "DictNode": {"builtins.dict"},
    "ListNode": {"builtins.list"},
    "TupleNode": {"builtins.tuple"},
    "JsonNode": {"builtins.str"},
    "TypeNode": _PRIMITIVES | _NUMBERS,
    "NdArrayNode": {"numpy.ndarray"} | _NUMBERS,
    "BytesNode": {"builtins.bytes"},
    "TreeNode": {"sklearn.tree._tree.Tree"},
}


def _known(kind: str) -> Set[str]:
    """Return the classes that a kind of node may have."""
    if kind != "LossNode":
        return _NODES.get(kind, frozenset())
    from sklearn._loss import _loss

    # before scikit-learn 1.9 these do not say which package their module is in
    return {f"{_loss.CyHalfBinomialLoss.__module__}.CyHalf{name}Loss" for name in ("Binomial", "Multinomial")}


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of ``classifier.json``.

    Attributes
    ----------
    classifier : str
    outputs : {'probabilities', 'margins'}
    classes, dimensions : int
    codes : tuple of int
    share, temperature, factor : float
        The calibration: see `shelfbench.verdict.smoothing`.
    chosen : dict
    versions : dict of str to str
        Of the libraries that the estimator comes from.
    missing : str
        Why there is no ``classifier.skops``; empty if there is.
    """

    classifier: str
    outputs: str
    classes: int
    dimensions: int
    codes: tuple[int, ...]
    share: float
    temperature: float
    factor: float
    chosen: dict[str, Any]
    versions: dict[str, str]
    missing: str = ""

    def __post_init__(self) -> None:
        """Validate what spans several fields.

        Raises
        ------
        ValueError
            If a value is impossible.
        """
        if self.classifier != "estimator" or self.outputs not in ("probabilities", "margins"):
            raise ValueError("it is not an estimator's")
        if not 1 <= self.classes <= _MOST_CLASSES or not 1 <= self.dimensions <= _MOST_DIMENSIONS:
            raise ValueError(f"it has {self.classes} categories and {self.dimensions} features")
        ordered = all(first < second for first, second in zip(self.codes, self.codes[1:], strict=False))
        if not self.codes or not ordered or self.codes[0] < 0 or self.codes[-1] >= self.classes:
            raise ValueError("its codes are not those of its categories")
        if not 0 <= self.share < 1 or not 1e-6 <= self.temperature <= 1e6 or not 0 < self.factor < 1e300:
            raise ValueError("its calibration is impossible")


def save_head(head: EstimatorHead, folder: Path) -> None:
    """Write ``classifier.skops`` and ``classifier.json``.

    An estimator that skops cannot write is left out, and the reason noted: its predictions are no worse for it.

    Parameters
    ----------
    head : EstimatorHead
        Fitted.
    folder : Path
        It exists.

    Raises
    ------
    ShelfbenchError
        If the disk is full, say.
    """
    missing = ""
    try:
        kept_estimator = prepared(head.estimator)
        write_whole(folder / SKOPS, lambda path: dump(kept_estimator, path))
    except (ShelfbenchError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever skops raises on classes that it does not know
        missing = f"skops cannot write it: {first_line(error)}"
    kept = Kept(
        classifier="estimator",
        outputs=head.outputs,
        classes=head.classes,
        dimensions=head.dimensions,
        codes=tuple(int(code) for code in head.codes),
        share=head.smoothing.share,
        temperature=head.smoothing.temperature,
        factor=head.factor,
        chosen=head.chosen,
        versions=_versions(head.framework),
        missing=missing,
    )
    write_json(folder / RECORD, msgspec.to_builtins(kept))


def load_head(head: EstimatorHead, folder: Path) -> EstimatorHead:
    """Fill a head with what `save_head` wrote.

    Parameters
    ----------
    head : EstimatorHead
        Its recipe, if it has one, is that of an installed package, whose classes are allowed as well.
    folder : Path
        Not trusted.

    Returns
    -------
    EstimatorHead
        `head`.

    Raises
    ------
    InputError
        If anything is not as `save_head` writes it, or not allowed.
    """
    kept = _record(folder / RECORD)
    path = folder / SKOPS
    if kept.missing:
        _refuse(path, f"is not there ({kept.missing})", "choose another estimator to decide on")
    own = head.recipe.classes() if head.recipe is not None else frozenset()
    head.outputs, head.chosen = kept.outputs, kept.chosen
    head.classes, head.dimensions, head.codes = kept.classes, kept.dimensions, np.array(kept.codes, np.int64)
    head.smoothing = type(head.smoothing)(kept.share, kept.temperature)
    head.factor = kept.factor
    head.estimator = load_estimator(path, own)
    wanted = "predict_proba" if kept.outputs == "probabilities" else "decision_function"
    if (head.estimator is None) if len(kept.codes) > 1 else (head.estimator is not None):
        _refuse(path, f"does not hold what {RECORD} describes")
    if head.estimator is not None and not callable(getattr(type(head.estimator), wanted, None)):
        _refuse(path, f"holds an estimator without {wanted}")
    head.framework = next((name for name in kept.versions if name != "scikit-learn"), "scikit-learn")
    now = _versions(*kept.versions)
    if apart := [f"{name} {was}" for name, was in kept.versions.items() if _minor(was) != _minor(now.get(name, ""))]:
        Console(quiet=True).warn(f"{path} was written with {', '.join(apart)}: its scores may differ here")
    return head


def load_estimator(path: Path, own: Set[str] = frozenset()) -> Any:
    """Load an estimator that anyone may have written.

    Parameters
    ----------
    path : Path
    own : set of str
        Classes of an installed package that are allowed besides `CLASSES`.

    Returns
    -------
    object
        The fitted estimator, or None.

    Raises
    ------
    InputError
        If the archive is damaged, or holds a kind of node, a class or numbers that are not allowed.
    """
    import skops.io

    allowed = CLASSES | own
    try:
        classes = _check(path, allowed)
        trusted = sorted(classes | {"sklearn.tree._tree.Tree"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn, about versions: `load_head` tells
            estimator = skops.io.load(path, trusted=trusted)
        check_content(estimator)
    except InputError:
        raise
    except FileNotFoundError:
        _refuse(path, "is missing")
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ImportError) as error:
        _refuse(path, f"is not an estimator that shelfbench wrote ({first_line(error)})")
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, RecursionError, MemoryError) as error:
        _refuse(path, f"is damaged ({first_line(error)})")
    return estimator


def _check(path: Path, allowed: Set[str]) -> set[str]:
    """Check archive, structure and arrays; return the classes of the objects."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {item.filename: item for item in archive.infolist()}
        total = sum(item.file_size for item in archive.infolist())
        if len(members) != len(archive.infolist()) or total > size:
            _refuse(path, "is an archive with files inside others")
        for name, item in members.items():
            if item.compress_type != zipfile.ZIP_STORED or item.compress_size != item.file_size or item.flag_bits & 1:
                _refuse(path, "is a compressed archive, and shelfbench writes none")
            if name != _SCHEMA and not _MEMBER.fullmatch(name):
                _refuse(path, f"contains {name[:60]!r}")
        if _SCHEMA not in members or members[_SCHEMA].file_size > _MOST_SCHEMA:
            _refuse(path, f"lacks {_SCHEMA}, or it is longer than allowed")
        schema = json.loads(archive.read(_SCHEMA))
        if not isinstance(schema, dict) or schema.get("protocol") != _PROTOCOL or schema["protocol"] is True:
            _refuse(path, "is not of the format of skops that this version reads")
        classes: set[str] = set()
        seen: dict[Any, Any] = {}
        read = 0
        for node in _nodes(schema):
            name = f"{node.get('__module__')}.{node.get('__class__')}"
            kind = node.get("__loader__")
            if kind == "ObjectNode":
                classes.add(name)
                known = allowed
            else:
                known = _known(kind) if isinstance(kind, str) else frozenset()
            if name not in known:
                what = name if kind == "ObjectNode" or known else f"{name} ({kind})"
                _refuse(path, f"holds {what[:120]!r}, which is not among the classes that may be loaded", _OWN)
            identity = node.get("__id__")  # skops takes nodes with the same number for the same object
            if identity is not None and seen.setdefault(identity, node) != node:
                _refuse(path, "gives two objects the same number")
            if "file" in node:
                read += members[node["file"]].file_size
                if read > total + 8 * _MIB:
                    _refuse(path, "uses the same arrays more often than allowed")
                if kind == "NdArrayNode":
                    _check_array(archive, members[node["file"]], path)
            if kind == "TreeNode":
                _check_tree(node, path)
    return classes


_OWN = "offer a backend of your own with its class (shelfbench.plugins.sklearn), or choose another estimator"


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Go through all nodes of the structure, without recursion; whatever has a loader is one."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "__loader__" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _header(archive: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Read the header of an array: shape, type, and the bytes that follow it."""
    from numpy.lib import format as npy

    with archive.open(item) as handle:
        start = io.BytesIO(handle.read(20_000))
    version = npy.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        _refuse(path, "contains an array of an unknown version")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(start)
    return shape, dtype, item.file_size - start.tell()


def _check_array(archive: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path) -> None:
    shape, dtype, left = _header(archive, item, path)
    count = 1
    for length in shape:
        count *= length
    if dtype.hasobject or min(shape, default=0) < 0 or count * dtype.itemsize != left:
        _refuse(path, "contains an array that its bytes do not fill")


def _check_tree(node: dict[str, Any], path: Path) -> None:
    """Check the arguments of a tree's constructor, which reads as many numbers as it is told."""
    arguments = node["__reduce__"]["args"]
    outputs = arguments["content"][2]
    if arguments["__loader__"] != "TupleNode" or outputs["__loader__"] != "JsonNode" or outputs["content"] != "1":
        _refuse(path, "contains a tree with several outputs")


def _record(path: Path) -> Kept:
    try:
        if path.stat().st_size > _MOST_RECORD:
            _refuse(path, "is longer than allowed")
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        _refuse(path, "is missing")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as error:
        _refuse(path, f"is not that of an estimator ({first_line(error)})")


def _versions(*libraries: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for library in dict.fromkeys(("scikit-learn", *libraries)):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _refuse(path: Path, problem: str, remedy: str = "run the study again in a new directory") -> NoReturn:
    raise InputError(f"{path} {problem}", remedy)
