"""A small run directory for the fuzzer, and a copy of it with one file replaced."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shelfbench.runs.directory import Run, open_run
from tests.helpers.synthetic_run import BACKENDS, make_run


def small_run(path: Path) -> Path:
    """Write a run of one backend on few products."""
    path.mkdir(parents=True)
    return make_run(path, products=120, categories=6, backends={"hog-svm": BACKENDS["hog-svm"]})


@contextmanager
def with_file(target: Path, sound: Path, name: str, data: bytes) -> Iterator[Callable[[], Run]]:
    """Replace a file of a run, make its hash agree if the record has one, and put it back at the end."""
    record = json.loads((sound / "run.json").read_bytes())
    (target / name).write_bytes(data)
    if name != "run.json" and (hashes := _hashes(record, name)) is not None:
        hashes[name] = hashlib.sha256(data).hexdigest()
        (target / "run.json").write_text(json.dumps(record))
    try:
        yield lambda: open_run(target)
    finally:
        for changed in {name, "run.json"}:
            with suppress(FileNotFoundError):
                shutil.copyfile(sound / changed, target / changed)


def _hashes(record: dict, name: str) -> dict | None:
    """Return the hashes of a backend's files that name a file, if the record has them."""
    for entry in record["backends"].values():
        if name in entry.get("files", {}):
            return entry["files"]
    return None
