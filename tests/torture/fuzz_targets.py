"""The parsers that read what strangers bring: sound inputs of each, and how one input is read.

A parser reads an input, or raises an `InputError` of one line that names the file; what it reads is what a plainer
reader of the same format finds.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import mmap
import shutil
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.tar_index import members
from shelfbench.data.to_classify import products_of
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture
from tests.torture.mutations import Mutation, damaged_bytes, damaged_json, damaged_text

EVERY = 20
"""Of so many inputs, one goes the whole way to a catalogue where the parser itself is much faster."""
QUIET = Console(quiet=True)
HEADER = ("file_name", "category", "product_id")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser: sound inputs, how they are damaged, and how one is read.

    `read` may raise a `ShelfbenchError` that names one of `places`, if any are given; anything else is a finding.
    """

    corpus: list[bytes]
    damage: Mutation
    read: Callable[[bytes], object]
    places: tuple[str, ...] = ()


def rows(count: int = 8) -> list[tuple[str, str, str]]:
    return [(f"p{n}.png", 'b, "x"' if n % 2 else "Café", f"0{n}") for n in range(count)]


def _both(path: Path) -> Callable[[bytes], object]:
    """Read a catalogue for a run, and products for classify."""

    def read(data: bytes) -> None:
        path.write_bytes(data)
        refused = None
        try:
            found = opened(path)
            found.images.read(np.arange(min(len(found.images), 20)))
        except ShelfbenchError as error:
            refused = error
        for number, _ in enumerate(products_of([path], DatasetSettings(), QUIET)):
            if number == 20:
                break
        if refused is not None:
            raise refused

    return read


def bson(folder: Path) -> Target:
    from shelfbench.data.sources import bson_index
    from shelfbench.generator.write import document
    from tests.data.test_bson_index import check

    # a few hundred bytes have as many windows and lanes as a real file has in gigabytes
    bson_index.WINDOW, bson_index.LANE, bson_index.REACH = 1 << 10, 1 << 7, 1 << 8
    import random

    rng = random.Random(0)
    corpus = []
    for most in (1, 4, 12):
        made = [
            document(n, 1000 + n % 3, [rng.randbytes(rng.randrange(60)) for _ in range(rng.randint(1, most))])
            for n in range(10)
        ]
        corpus.append(b"".join(made))
    corpus.append(b"".join(made[:3]) + made[3][:-12] + b"\0" + made[4])

    def read(data: bytes) -> None:
        if data:
            check(folder, data, "accept" if len(data) % 2 else "refuse")

    return Target(corpus=corpus, damage=damaged_bytes, read=read)


def _parquet(table: pa.Table, **options: object) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made, **options)
    return made.getvalue()


def parquet(folder: Path) -> Target:
    columns = {name: [row[n] for row in rows()] for n, name in enumerate(HEADER)}
    photos = [{"bytes": noise_picture(n), "path": row[0]} for n, row in enumerate(rows())]
    held = pa.table({"image": photos, "category": columns["category"], "product_id": columns["product_id"]})
    corpus = [
        _parquet(held, row_group_size=3),
        _parquet(held, compression="zstd", use_dictionary=False),
        _parquet(held, version="1.0", compression="none", data_page_version="2.0"),
    ]
    path = folder / "photos.parquet"
    return Target(corpus=corpus, damage=damaged_bytes, read=_both(path), places=(path.name, ".png"))


def parquet_table(folder: Path) -> Target:
    columns = {name: [row[n] for row in rows()] for n, name in enumerate(HEADER)}
    table = pa.table(columns)
    numbers = table.set_column(2, "product_id", pa.array(range(8)))
    coded = table.set_column(1, "category", table["category"].dictionary_encode())
    corpus = [_parquet(table), _parquet(numbers, compression="none"), _parquet(coded, compression="zstd")]
    for name, *_ in rows():
        (folder / name).write_bytes(noise_picture(1))
    path = folder / "table.parquet"
    return Target(corpus=corpus, damage=damaged_bytes, read=_both(path), places=(path.name, ".png"))


def _text(encoding: str, delimiter: str) -> bytes:
    made = io.StringIO()
    csv.writer(made, delimiter=delimiter).writerows([HEADER, *rows()])
    return made.getvalue().encode(encoding)


def table(folder: Path) -> Target:
    for name, *_ in rows():
        (folder / name).write_bytes(noise_picture(1))
    corpus = [_text("utf-8", ","), _text("utf-8-sig", ";"), _text("utf-16", "\t"), _text("cp1252", ",")]
    path = folder / "table.csv"
    return Target(corpus=corpus, damage=damaged_text, read=_both(path), places=(path.name, ".png"))


def json_table(folder: Path) -> Target:
    for name, *_ in rows():
        (folder / name).write_bytes(noise_picture(1))
    objects = [dict(zip(HEADER, row, strict=True)) for row in rows()]
    corpus = [json.dumps(objects).encode(), json.dumps(objects[:2], ensure_ascii=False, indent=1).encode()]
    lines = ["\n".join(map(json.dumps, objects)).encode()]
    read = {name: _both(folder / f"table.{name}") for name in ("json", "jsonl")}

    def either(data: bytes) -> object:
        return read["json" if data[:1] == b"[" else "jsonl"](data)

    def damage(data: bytes, rng, others) -> bytes:
        return (damaged_json if data[:1] == b"[" else damaged_text)(data, rng, others)

    return Target(corpus=corpus + lines, damage=damage, read=either, places=("table.json", ".png"))


def workbook(folder: Path) -> Target:
    import openpyxl

    for name, *_ in rows():
        (folder / name).write_bytes(noise_picture(1))
    book, made = openpyxl.Workbook(), io.BytesIO()
    for row in (HEADER, *rows()):
        book.active.append(row)
    book.save(made)
    path = folder / "table.xlsx"
    return Target(corpus=[made.getvalue()], damage=damaged_bytes, read=_both(path), places=(path.name, ".png"))


def tar(folder: Path) -> Target:
    corpus = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=form) as archive:
            for n in range(6):
                deep = "deep/" * 30 if n == 3 and form != tarfile.USTAR_FORMAT else ""
                said = json.dumps({"category": f"c{n % 2}", "product_id": f"{n % 4}"}).encode()
                for name, data in ((f"{deep}{n}.jpg", b"photo" * n), (f"{deep}{n}.json", said)):
                    info = tarfile.TarInfo(name)
                    info.size, info.mtime = len(data), 1.5e9 + n / 4
                    archive.addfile(info, io.BytesIO(data))
        corpus.append(made.getvalue())
    path = folder / "train.tar"
    whole = _both(path)

    def read(data: bytes) -> None:
        if zlib.crc32(data) % EVERY == 0:
            return whole(data)
        path.write_bytes(data or b"\0")
        with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
            for member in members(path, view):
                assert 0 <= member.offset <= member.offset + member.length <= len(data)

    return Target(corpus=corpus, damage=damaged_bytes, read=read, places=(path.name, ".png"))


def _plugins_once() -> None:
    """Look for installed plug-ins once, not for every study: that takes 0.1 s where many packages are installed."""
    from importlib.metadata import entry_points

    from shelfbench.plugins import experiment, finding

    known = functools.cache(entry_points)
    finding.entry_points = experiment.entry_points = known


def toml(folder: Path) -> Target:
    from shelfbench.study.read import STUDIES, read_study

    _plugins_once()
    path = folder / "study.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = read_study(str(path))
        json.dumps(found.record(), allow_nan=False)
        found.results_hash()

    return Target(corpus=[file.read_bytes() for file in sorted(STUDIES.glob("*.toml"))], damage=damaged_text, read=read)


SETTINGS = """split.min_products=10|backbone=net.onnx|pixels=auto|svm.C=[0.01, 1]|onnx.mean=[1,2,3]|seed=3
dataset.name=photos|report.targets=[0.9, 0.95]|generated.products=200|heads.knn.estimator="KNeighborsClassifier"
heads.knn.parameters.n_neighbors=5|heads.knn.grid={C=[1, 2]}|two_layer.epochs=2|verdict.calibration=auto
bottleneck.precision=int8|images.fit=crop|weights=none|hog.cells=8|backends=["hog-svm"]|split.certify=0.8
verdict.confidence_level=0.95|features=vector|report.pictures=false|svm.extend=false|hog.pixels=48|full.epochs=3"""


def setting(folder: Path) -> Target:
    from shelfbench.study.overrides import parse_setting
    from shelfbench.study.read import read_study

    _plugins_once()

    def read(data: bytes) -> None:
        override = parse_setting(data.decode("utf-8", "surrogateescape"))
        found = read_study("default", [override])
        json.dumps(found.record(), allow_nan=False)
        found.results_hash()

    corpus = [text.encode() for text in SETTINGS.replace("\n", "|").split("|")]
    return Target(corpus=corpus, damage=damaged_text, read=read)


def decision(folder: Path) -> Target:
    """Every file of a decision, with hashes that agree: what would be left if a stranger had made it."""
    from shelfbench.decision.bundle import load_model
    from tests.helpers.decisions import make_decision, seal, stamp

    sound = make_decision(folder / "sound")
    names = sorted(path.name for path in sound.iterdir())
    corpus = [f"{name}\n".encode() + (sound / name).read_bytes() for name in names]
    target = folder / "decision"

    def damage(data: bytes, rng, others) -> bytes:
        name, _, inner = data.partition(b"\n")
        bare = [other.partition(b"\n")[2] for other in others]
        return name + b"\n" + (damaged_json if name.endswith(b".json") else damaged_bytes)(inner, rng, bare)

    def read(data: bytes) -> None:
        name, _, inner = data.partition(b"\n")
        shutil.copytree(sound, target, dirs_exist_ok=True)
        (target / name.decode()).write_bytes(inner)
        if name == b"decision.json":
            stamp(target)
        elif name != b"decision.sha256":
            seal(target)
        load_model(target, 1)

    return Target(corpus=corpus, damage=damage, read=read, places=(str(target),))


def run_directory(folder: Path) -> Target:
    """Every file of a run that is read again, with hashes that agree where it has any."""
    from tests.torture.fuzz_runs import small_run, with_file

    sound = small_run(folder / "sound")
    files = [path.relative_to(sound) for path in sorted(sound.rglob("*")) if path.is_file()]
    corpus = [f"{name}\n".encode() + (sound / name).read_bytes() for name in files]
    target = folder / "run"
    shutil.copytree(sound, target)

    def damage(data: bytes, rng, others) -> bytes:
        name, _, inner = data.partition(b"\n")
        bare = [other.partition(b"\n")[2] for other in others]
        return name + b"\n" + (damaged_json if name.endswith(b".json") else damaged_bytes)(inner, rng, bare)

    def read(data: bytes) -> None:
        name, _, inner = data.partition(b"\n")
        with with_file(target, sound, name.decode(), inner) as run:
            with suppress(InputError):  # a damaged timing does not hide a damaged prediction
                _ = run().timings
            opened_run = run()
            for backend in opened_run.backends:
                opened_run.predictions(backend)
                opened_run.curve(backend)
            _ = opened_run.table4, opened_run.metrics, opened_run.split, str(opened_run.headline)

    return Target(corpus=corpus, damage=damage, read=read)


PROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 1 / 255,
    "do_rescale": True,
    "do_normalize": True,
    "resample": 3,
}


def onnx(folder: Path) -> Target:
    from shelfbench_deep.networks.onnx_file import find_onnx
    from shelfbench_deep.networks.onnx_preprocessing import preprocessing_of
    from shelfbench_deep.networks.onnx_settings import OnnxSettings
    from tests.helpers.onnx_graphs import graph

    forms = ({"metadata": {"mean": "1, 2, 3", "std": "[4]"}}, {"layout": "NHWC", "kind": "uint8"}, {"end": "both"})
    graphs = [graph(folder / "sound.onnx", **form).read_bytes() for form in forms]
    corpus = [json.dumps(PROCESSOR).encode(), *graphs]
    plain, config = corpus[1], folder / "preprocessor_config.json"
    path = folder / "net.onnx"

    def damage(data: bytes, rng, others) -> bytes:
        return (damaged_json if data[:1] == b"{" else damaged_bytes)(data, rng, others)

    def read(data: bytes) -> None:
        is_config = data[:1] in b"{["
        path.write_bytes(plain if is_config else data)
        if is_config:
            config.write_bytes(data)
        try:
            file = find_onnx(str(path))
            given = file.input()
            file.output(given.layout and "")
            preprocessing_of(path, given.kind, file.graph.metadata, OnnxSettings())
        finally:
            config.unlink(missing_ok=True)

    return Target(corpus=corpus, damage=damage, read=read)


def watch_table(folder: Path) -> Target:
    from shelfbench.decision.watching_rows import blocks

    header = "product_id,predicted,category,confidence,time,accepted\n"
    text = header + "".join(f"p{n},a,{'ab'[n % 2]},-0.{n},2026-01-0{n},true\n" for n in range(1, 9))
    lines = [json.dumps({"product_id": f"p{n}", "predicted": "a", "category": "b"}) for n in range(8)]
    corpus = [text.encode(), text.replace(",", ";").encode("utf-16"), "\n".join(lines).encode()]
    read_names = {name: folder / f"labelled.{name}" for name in ("csv", "jsonl")}

    def read(data: bytes) -> None:
        path = read_names["jsonl" if data[:1] == b"{" else "csv"]
        path.write_bytes(data)
        for _ in blocks(path):
            pass

    return Target(corpus=corpus, damage=damaged_text, read=read, places=("labelled.",))


TARGETS: dict[str, Callable[[Path], Target]] = {
    "bson": bson,
    "parquet": parquet,
    "parquet-table": parquet_table,
    "table": table,
    "json-table": json_table,
    "workbook": workbook,
    "tar": tar,
    "toml": toml,
    "set": setting,
    "decision": decision,
    "run-directory": run_directory,
    "onnx": onnx,
    "watch-table": watch_table,
}
