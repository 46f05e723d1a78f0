"""Files of skops that are the same, byte for byte, whenever the same estimator is written.

skops numbers objects by their places in memory and notes the time; so a file that is made anew would never have the
hash that a run noted of it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

_SCHEMA = "schema.json"
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that an archive knows


def dump(estimator: Any, path: Path) -> None:
    """Write an estimator with skops, with objects numbered in the order in which they come.

    Parameters
    ----------
    estimator : object
    path : Path

    Raises
    ------
    Exception
        Whatever skops raises on classes that it does not know.
    """
    import skops.io

    with tempfile.TemporaryFile(dir=path.parent) as raw:
        skops.io.dump(estimator, raw)
        with zipfile.ZipFile(raw) as given, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as written:
            schema = json.loads(given.read(_SCHEMA))
            numbers: dict[int, int] = {}
            names: dict[str, str] = {}
            _renumber(schema, numbers, names)
            for old, new in names.items():
                with given.open(old) as source, written.open(_entry(new, given.getinfo(old).file_size), "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            text = json.dumps(schema, indent=2).encode()
            with written.open(_entry(_SCHEMA, len(text)), "w") as target:
                target.write(text)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name, _TIME)
    found.file_size = size
    return found


def _renumber(node: Any, numbers: dict[int, int], names: dict[str, str]) -> None:
    """Number objects and files in the order in which the schema names them, in place."""
    if isinstance(node, list):
        for inner in node:
            _renumber(inner, numbers, names)
    elif isinstance(node, dict):
        if isinstance(number := node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(number, len(numbers) + 1)
        if isinstance(name := node.get("file"), str) and "__loader__" in node:
            suffix = name.rpartition(".")[2]
            node["file"] = names.setdefault(name, f"{len(names) + 1}.{suffix}")
        for inner in node.values():
            _renumber(inner, numbers, names)
