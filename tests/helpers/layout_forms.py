"""The forms of random catalogues: folders, tables and shards, and what lies around them."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.layouts import NAMES, SUSPICIOUS, WORDS, Drawn, Photo, photo

WRAPPERS = ("shop", "data", "photos", "images", "2024", "export (1)", "train", "default")
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini", "._photo.jpg", ".hidden/photo.jpg", ".ipynb_checkpoints/photo.jpg")
MORE_LITTER = ("__MACOSX/shoes/photo.jpg", "README.md", "notes.txt", "LICENSE", "archive.zip", "__MACOSX/._shoes")
KINDS = ("csv", "csv", "csv", "tsv", "jsonl", "parquet", "xlsx")
DELIMITERS = (",", ",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252")
UNUSUAL = 0.12


def folders(drawn: Drawn) -> None:
    """Draw a folder per category, some with folders of their own."""
    names = drawn.categories()
    for name in names:
        for _ in drawn.some():
            drawn.add(name, name)
        if drawn.chance(0.1, "a folder within a category"):
            drawn.add(f"{name}/more", name)
    if drawn.chance(0.1, "a stray photo"):
        drawn.files["stray.jpg"] = photo(999)
        drawn.may_stop = True
    if drawn.chance(0.15, "an empty folder"):
        drawn.folders.append("empty one")


def glued(drawn: Drawn) -> None:
    """Draw folders of photos named like parts of a split, as some research has them."""
    for name in drawn.random.choice((("trainA", "trainB", "testA"), ("trainset", "testset"), ("train", "test"))):
        for _ in drawn.some():
            drawn.add(name, name)
    drawn.must_stop = True


def products(drawn: Drawn) -> None:
    """Draw a folder for each product, with its photos."""
    for name in drawn.categories():
        for number in drawn.some():
            for _ in drawn.some():
                drawn.add(f"{name}/{name[:1]}{number}", name, product=f"{name}{number}")
    drawn.must_stop = True


def nested(drawn: Drawn) -> None:
    """Draw folders within folders, which may be categories or levels above them."""
    inner = drawn.random.sample(NAMES, 3)
    for name in drawn.random.sample([name for name in NAMES if name not in inner], 2):
        for below in inner[: drawn.random.randint(2, 3)]:
            for _ in drawn.some():
                drawn.add(f"{name}/{below}", name)
    drawn.must_stop = True


def split_folders(drawn: Drawn) -> None:
    """Draw folders of the parts of a split, around folders of categories or within them."""
    names, words = drawn.categories(), drawn.parts()
    drawn.may_stop = False
    inside = drawn.chance(0.2, "categories outside")
    if inside:
        names = [name for name in names if name not in SUSPICIOUS]
    wrapped = not inside and drawn.chance(0.3, "a folder in each part")
    wrapper = drawn.random.choice(("images/", "photos/2024/", "WORD/")) if wrapped else ""
    if len(names) < 2 and inside:
        names = list(NAMES[:2])
    for word, part in words.items():
        kept = names if part == "train" or inside else names[: drawn.random.randint(1, len(names))]
        for name in kept if not wrapper else names:
            for _ in drawn.some():
                at = f"{name}/{word}" if inside else f"{word}/{wrapper.replace('WORD', word)}{name}"
                drawn.add(at, name, split=part)
    if not inside and drawn.chance(0.15, "a stranger beside the parts"):
        for _ in drawn.some():
            drawn.add(drawn.random.choice(("extra/", "holdout/", "old/")) + names[0], names[0])
        drawn.must_stop = True
    elif not inside and drawn.chance(0.1, "a part of other categories"):
        word, part = list(words.items())[-1]
        gone = [made for made in drawn.photos if made.split == part]
        for made in gone:
            drawn.photos.remove(made)
            del drawn.files[made.path]
        for _ in drawn.some():
            drawn.add(f"{word}/{wrapper.replace('WORD', word)}unsorted", "unsorted", split=part)
        drawn.must_stop = True
    elif not inside and drawn.chance(0.1, "a part without categories"):
        unused = next(kind for kind in WORDS if kind not in words.values()) if len(words) < 3 else None
        if unused:
            drawn.files[f"{WORDS[unused][0]}/x.jpg"] = photo(998)
            drawn.must_stop = True


def encoded_table(drawn: Drawn, rows: list[dict[str, str]], folder: str, stem: str = "metadata") -> str:
    """Write rows as a table in one of many forms; return its path."""
    draw = drawn.random
    frame = pd.DataFrame(rows)
    kind = draw.choice(KINDS)
    name = f"{folder}{stem}.{kind}"
    drawn.story.append(name)
    if kind == "jsonl":
        drawn.files[name] = "\n".join(json.dumps(row, ensure_ascii=draw.random() < 0.5) for row in rows).encode()
    elif kind == "parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        drawn.files[name] = buffer.getvalue()
    elif kind == "xlsx":
        buffer = io.BytesIO()
        frame.to_excel(buffer, index=False)
        drawn.files[name] = buffer.getvalue()
    else:
        delimiter = "\t" if kind == "tsv" else draw.choice(DELIMITERS)
        encoding = draw.choice(ENCODINGS)
        if kind == "csv" and drawn.chance(UNUSUAL, "backslashes"):
            frame["file_name"] = frame["file_name"].str.replace("/", "\\")
        if drawn.chance(UNUSUAL, "a header in capitals"):
            frame.columns = [f" {column.title()}" for column in frame.columns]
        drawn.story.append(f"{delimiter!r} {encoding}")
        quoting = draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        text = frame.to_csv(index=False, sep=delimiter, quoting=quoting, lineterminator=draw.choice(("\n", "\r\n")))
        drawn.files[name] = text.encode(encoding)
    return name


def one_table(drawn: Drawn) -> None:
    """Draw a table at the root."""
    table(drawn, products=drawn.chance(0.3, "a column product_id"))


def table(drawn: Drawn, folder: str = "", part: str = "", products: bool = False) -> None:
    """Draw photos and the table of them, in a folder."""
    names, rows, first = drawn.categories(), [], len(drawn.photos)
    drawn.may_stop = False
    last = ("", "")
    split = {kind: kind for kind in drawn.parts().values()} if not part and drawn.chance(0.2, "a column split") else {}
    below = drawn.random.choice((("images/",), ("",), ("a/", "a/b/", ""), ("images/1/", "images/2/")))
    for name in names:
        for number in range(len(names) + 2):
            at = drawn.random.choice(below)
            word = drawn.random.choice(list(split)) if split else ""
            more = {"split": split.get(word, part)}
            if products:
                more["product"] = f"{folder}{name}{number // 2}"
                if split and number % 2:
                    word, more["split"] = last
                last = (word, more["split"])
            made = drawn.add(f"{folder}{at}".rstrip("/"), name, **more)
            row = {"file_name": made.path.removeprefix(folder), "category": name}
            rows.append(
                row | ({"split": word} if split else {}) | ({"product_id": more["product"]} if products else {})
            )
    for number in range(first, len(drawn.photos)):
        if not products and drawn.chance(0.03, "a row without a category"):
            rows[number - first]["category"] = ""
            drawn.photos[number] = Photo(path="-", data=b"", category="")
        elif drawn.chance(0.03, "a photo that is not there") and len(drawn.photos) > 3:
            old = drawn.photos[number]
            del drawn.files[old.path]
            drawn.photos[number] = Photo(**{**old.__dict__, "data": b""})
    drawn.random.shuffle(rows)
    if drawn.chance(0.1, "a photo that the table leaves out"):
        drawn.files[f"{folder}{below[0]}left out.jpg"] = photo(997)
    encoded_table(drawn, rows, folder)
    if drawn.chance(0.05, "a second table"):
        encoded_table(drawn, rows, folder)
        drawn.must_stop = sum(name.startswith(f"{folder}metadata.") for name in drawn.files) > 1


def table_with_parts(drawn: Drawn) -> None:
    """Draw a table at the root and photos in folders of the parts of a split."""
    names, rows = drawn.categories(), []
    drawn.may_stop = False
    above = "images/" if drawn.chance(0.3, "images above the parts") else ""
    for word, part in drawn.parts().items():
        for name in names:
            for _ in drawn.some():
                made = drawn.add(f"{above}{word}", name, split=part)
                rows.append({"file_name": made.path, "category": name})
    if drawn.chance(0.1, "photos outside of the parts"):
        rows += [{"file_name": drawn.add("extra", names[0]).path, "category": names[0]} for _ in range(2)]
        drawn.must_stop = True
    encoded_table(drawn, rows, "")


def tables_in_folders(drawn: Drawn) -> None:
    """Draw a table in each of several folders, which are parts of a split or only parts."""
    products = drawn.chance(0.3, "a column product_id")
    if drawn.chance(0.5, "tables of a split"):
        for word, part in drawn.parts().items():
            table(drawn, f"{word}/", part, products)
        if drawn.chance(0.1, "a stranger with a table"):
            table(drawn, "extra/", "train", products)
            drawn.must_stop = True
        return
    for number in range(drawn.random.randint(2, 3)):
        table(drawn, f"part-{number:03}/", "train", products)
    if drawn.chance(0.1, "categories beside the tables"):
        for _ in drawn.some():
            drawn.add("more shoes", "shoes")
        drawn.must_stop = True


def table_by_itself(drawn: Drawn) -> None:
    """Draw photos and a table, which is given as the path."""
    rows = []
    for name in drawn.categories():
        for _ in drawn.some():
            made = drawn.add(drawn.random.choice(("images", "", "images/more")), name)
            rows.append({"file_name": made.path, "category": name})
    drawn.may_stop = False
    drawn.path = encoded_table(drawn, rows, "", "products")


def path_left_out(drawn: Drawn) -> None:
    """Draw a table whose names lack the folder."""
    rows = []
    for name in drawn.categories():
        for _ in drawn.some():
            made = drawn.add("images", name)
            rows.append({"file_name": made.path.removeprefix("images/"), "category": name})
    drawn.may_stop = True
    encoded_table(drawn, rows, "")


def shards(drawn: Drawn) -> None:
    """Draw Parquet shards, in one of the ways of the Hub."""
    draw = drawn.random
    names = drawn.categories()
    drawn.may_stop = False
    parts = drawn.parts()
    forms = {
        "one": ["products.parquet"],
        "several": ["a-0.parquet", "a-1.parquet"],
        "named": [f"{word}-0000{i}-of-00002.parquet" for word in parts for i in range(2)],
        "data": [f"data/{word}-00000-of-00001.parquet" for word in parts],
        "folders": [f"{word}/000{i}.parquet" for word in parts for i in range(2)],
        "default": [f"default/{word}/0000.parquet" for word in parts],
        "configurations": [f"{config}/{word}/0000.parquet" for config in ("large", "small") for word in parts],
        "mixed": ["products.parquet", "more/products.parquet"],
    }
    form = draw.choice(list(forms))
    drawn.story.append(form)
    drawn.must_stop = form in ("configurations", "mixed")
    for file in forms[form]:
        at = [*file.split("/"), file.split("/")[-1].partition("-0000")[0]]
        part = next((kind for word, kind in parts.items() if word in at), "")
        cells, categories = [], []
        for name in names:
            for _ in drawn.some():
                data = photo(len(drawn.photos))
                drawn.photos.append(Photo(path=f"{file}:{len(cells)}", data=data, category=name, split=part))
                cells.append({"bytes": data, "path": f"{len(cells)}.jpg"})
                categories.append(name)
        buffer = io.BytesIO()
        pq.write_table(pa.table({"image": cells, "category": categories}), buffer, row_group_size=5)
        drawn.files[file] = buffer.getvalue()
    if drawn.chance(0.1, "photos beside the shards"):
        count = drawn.random.choice((1, 30))
        drawn.files |= {f"images/{number}.jpg": photo(900 + number) for number in range(count)}
        drawn.may_stop, drawn.must_stop = True, drawn.must_stop or count == 30


CLEAR = (folders, split_folders, one_table, table_with_parts, tables_in_folders, table_by_itself, shards)
UNSURE = (nested, glued, products, path_left_out)
FORMS = (*CLEAR, *CLEAR, *UNSURE)


def drawn_layout(seed: int) -> Drawn:
    """Draw a layout; the same for a seed.

    Parameters
    ----------
    seed : int

    Returns
    -------
    Drawn
    """
    drawn = Drawn(random=random.Random(seed))
    form = drawn.random.choice(FORMS)
    drawn.story.append(form.__name__)
    form(drawn)
    for path in LITTER:
        if drawn.chance(0.1, path):
            at = drawn.random.choice(["", *(f"{Path(name).parent.as_posix()}/" for name in drawn.files)])
            drawn.files.setdefault(at.removeprefix("./") + path, photo(995))
    for path in MORE_LITTER:
        if drawn.chance(0.05, path):
            drawn.files.setdefault(path, b"litter" if "photo" not in path else photo(995))
    for _ in range(drawn.random.choice((0, 0, 0, 1, 2))):
        wrapper = drawn.random.choice(WRAPPERS)
        drawn.story.append(f"in {wrapper}")
        drawn.path = f"{wrapper}/{drawn.path}" if drawn.path else ""
        drawn.files = {f"{wrapper}/{path}": data for path, data in drawn.files.items()}
        drawn.folders = [f"{wrapper}/{path}" for path in drawn.folders]
        if drawn.chance(0.2, "something beside the wrapper"):
            drawn.files[drawn.random.choice(("README.md", ".gitattributes", "docs/about.txt"))] = b"about"
    return drawn
