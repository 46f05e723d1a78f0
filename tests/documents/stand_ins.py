"""A small shop in the place of the files that the documents' commands name: photos, tables, networks, runs."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import numpy as np
import pandas as pd

import shelfbench
from shelfbench.cli.main import main
from tests.helpers import onnx_graphs

SMALL = {
    **{"departments": 4, "categories": 8, "books": False, "label_noise": 0.0, "skew": False},
    **{"lookalikes": False, "pixels": 64, "max_photos": 1},
}
Product = tuple[int, int, bytes]


def products_of(folder: Path) -> Iterator[Product]:
    """Go through a generated catalogue: id, category and photo."""
    with (folder / "train.bson").open("rb") as file:
        for document in bson.decode_file_iter(file):
            yield document["_id"], document["category_id"], document["imgs"][0]["picture"]


def fill(shop: Path) -> None:
    """Make everything in an empty folder."""
    for name, products, seed in (("PATH", 900, 0), ("flow", 320, 1)):
        shelfbench.generate(shop / name, settings={**SMALL, "products": products, "seed": seed}, quiet=True)
    shutil.copytree(shop / "PATH", shop / "datasets" / "cdiscount")
    catalogue, flow = list(products_of(shop / "PATH")), list(products_of(shop / "flow"))
    for name, products in (("photos", catalogue), ("new-photos", flow)):
        for product, category, photo in products:
            place = shop / name / str(category) / f"{product}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(photo)
    tables(shop, catalogue, flow)
    embeddings(shop, catalogue, flow)
    networks(shop)
    with contextlib.chdir(shop):  # so that the record names the dataset as the documents do
        assert main(["run", "--dataset", "PATH", "--out", "results/mine", "--quiet"]) == 0
        for name, backend in (("cpu", "hog-svm"), ("gpu", "bottleneck-svm")):
            assert main(["run", "--dataset", "PATH", "--backend", backend, "--out", f"results/{name}", "--quiet"]) == 0
        # decided in a copy, so that the tries on the run itself are those of the documents
        shutil.copytree("results/mine", "copy")
        # a training may differ by an error or two from one processor to the next
        decided = main(["decide", "copy", "bottleneck-2nn-4096", "--precision", "0.8", "--out", "decision"])
        assert decided == 0, "the stand-in for a decision must promise something"
        shutil.rmtree("copy")
        answers = shelfbench.load_decision("decision").classify(["new-photos"])
    labelled(shop, answers)


def tables(shop: Path, catalogue: list[Product], flow: list[Product]) -> None:
    """Tables of photos, in the words of a shop and in ours; a dataset called fashion; a mix."""
    for name, folder, products in (("Artikel.csv", "photos", catalogue), ("Neu.csv", "new-photos", flow)):
        with (shop / name).open("w", encoding="cp1252", newline="") as file:
            rows = csv.writer(file, delimiter=";")
            rows.writerow(["Artikelnr", "Bezeichnung", "Warengruppe", "Bild-URL"])
            for product, category, _ in products:
                rows.writerow([f"{product:06}", "Gürtel", f"Gruppe {category}", f"{folder}/{category}/{product}.jpg"])
    ours = pd.DataFrame(
        [(f"photos/{category}/{product}.jpg", category) for product, category, _ in catalogue],
        columns=["file_name", "category"],
    )
    ours.to_csv(shop / "products.csv", index=False)
    fashion = pd.DataFrame(
        [
            {
                "id": product,
                "masterCategory": "all",
                "subCategory": str(category % 4),
                "articleType": f"type {category}",
            }
            | {"gender": "Men", "baseColour": "Blue", "season": "Fall", "usage": "Casual"}
            | {"image": {"bytes": photo, "path": f"{product}.jpg"}}
            for product, category, photo in catalogue
        ]
    )
    (shop / "datasets" / "fashion").mkdir(parents=True)
    fashion.to_parquet(shop / "datasets" / "fashion" / "train-00000-of-00001.parquet")
    categories = sorted({category for _, category, _ in catalogue})
    (shop / "mix.csv").write_text("".join(f"{category},1\n" for category in categories), encoding="utf-8")


def embeddings(shop: Path, catalogue: list[Product], flow: list[Product]) -> None:
    """Embeddings that lie around a centre for each category, in a table of their own and beside photos."""
    rng = np.random.default_rng(0)
    centres = {category: rng.normal(size=16) for category in sorted({category for _, category, _ in catalogue})}

    def rows(products: list[Product]) -> pd.DataFrame:
        made = [
            (product, f"{category}/{product}.jpg", str(category), (centres[category] + rng.normal(0, 0.3, 16)))
            for product, category, _ in products
        ]
        return pd.DataFrame(made, columns=["product_id", "file_name", "category", "embedding"])

    rows(catalogue).drop(columns="file_name").to_parquet(shop / "products.parquet")
    rows(catalogue)[["file_name", "embedding"]].to_parquet(shop / "vectors.parquet")
    rows(flow)[["product_id", "embedding"]].to_parquet(shop / "new.parquet")


def networks(shop: Path) -> None:
    """A file of ONNX that says how it wants its pixels, one in a folder with a blank that takes bytes, one of Keras."""
    import keras

    onnx_graphs.graph(shop / "net.onnx", metadata={"mean": "127.5", "std": "127.5", "channels": "rgb"})
    (shop / "my nets").mkdir()
    onnx_graphs.graph(shop / "my nets" / "net.onnx", kind="uint8")
    photos = keras.Input((64, 64, 3))
    maps = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(photos))
    scores = keras.layers.Dense(8, activation="softmax")(keras.layers.GlobalAveragePooling2D()(maps))
    keras.Model(photos, scores).save(shop / "shop.keras")


def labelled(shop: Path, answers: pd.DataFrame) -> None:
    """What `classify` wrote, what a person saw, and both as one table for `watch`."""
    answers.to_csv(shop / "categories.csv", index=False)
    truth = answers["product"].map(lambda product: Path(product).parent.name)
    seen = pd.DataFrame({"product_id": answers["product"], "category": truth})
    seen.to_csv(shop / "labels.csv", index=False)
    flow = pd.DataFrame({"product_id": seen["product_id"], "predicted": answers["suggestion"]})
    flow.assign(category=seen["category"], reason=answers["reason"]).to_csv(shop / "labelled.csv", index=False)


def filled_in(sample: Path) -> None:
    """Do what people do between `label` and `decide --labelled`: look at each product and write its category."""
    table = pd.read_csv(io.StringIO(sample.read_text(encoding="utf-8-sig")), dtype=str, keep_default_na=False)
    table["category"] = [Path(product).parent.name for product in table["product_id"]]
    table.to_csv(sample, index=False)


def page_folder(shop: Path, folder: Path) -> Path:
    """A folder for a page: what commands write into is copied, and photos are the same files under another name."""
    for path in shop.iterdir():
        if path.name in ("PATH", "datasets", "flow"):
            (folder / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copy(path, folder)
        else:  # a table names no photos behind a link to a folder
            same = path.name in ("photos", "new-photos", "my nets")
            shutil.copytree(path, folder / path.name, copy_function=os.link if same else shutil.copy2)
    return folder


def default_out(options: Any) -> Path:
    """Where `run` writes to if nothing is said."""
    return Path("results", Path(options.study).stem if options.study else "own" if options.dataset else "default")
