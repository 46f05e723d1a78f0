"""Why a category errs: against plain counting over the predictions."""

import base64
import html
import io
import json
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.report.category_page import errors_text
from shelfbench.report.data import open_data
from shelfbench.report.one_category import category_errors
from shelfbench.report.which_category import UNREADABLE, find_category, link_to_category, most_errors
from shelfbench.runs.filed_scores import open_scores
from shelfbench.verdict.suspects import suspect_labels
from tests.helpers.photos import picture
from tests.helpers.synthetic_run import BACKENDS, make_run
from tests.helpers.ugly_names import ugly_names

BACKEND = "hog-svm"
TWO = {name: BACKENDS[name] for name in (BACKEND, "bottleneck-svm")}
SHARED = {"c03": "Shoes", "c04": "Shoes", "c05": "shoes", "c06": "Boots"}
COLOURS = [(number * 20, 255 - number * 20, 60) for number in range(12)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 900 products whose photos, of a colour for each category, are there; not to be changed."""
    folder = tmp_path_factory.mktemp("one")
    path = make_run(folder / "run", products=900, categories=12, names=SHARED, backends=TWO, own=True)
    split = pd.read_parquet(path / "split.parquet")
    (folder / "shop").mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / "shop" / f"c{number:02d}.jpg").write_bytes(picture(colour))
    table = split[["product_id", "category"]].assign(file_name=split["category"] + ".jpg")
    table.to_parquet(folder / "shop" / "metadata.parquet", index=False)
    change(path, products=len(split), images=len(split), name=str(folder / "shop"))
    return path


def change(path, *, name=None, pictures=True, **sizes):
    """Change what the record of a run says of its data."""
    record = json.loads((path / "run.json").read_text())
    record["dataset"] |= sizes
    record["study"] |= {"report": {"papers": False, "pictures": pictures}}
    if name is not None:
        record["study"]["dataset"] = {"name": name}
    (path / "run.json").write_text(json.dumps(record))


@pytest.fixture
def copy(run, tmp_path):
    """A copy of that run, to be changed; its data are those of the other."""
    return shutil.copytree(run, tmp_path / "copy")


@pytest.fixture(scope="module")
def data(run):
    return open_data(run)


def held(run):
    """Products of tune and test, and whether each is wrong; without a readable photo, the prediction is empty."""
    rows = pd.read_parquet(run / "predictions" / f"{BACKEND}.parquet")
    rows = rows[rows["role"].isin(["tune", "test"])]
    return rows.assign(wrong=rows["category"] != rows["predicted"])


@pytest.mark.parametrize("key", ["c02", "c03", "c05"])
def test_the_table_is_a_plain_selection(run, data, key, tmp_path):
    rows = held(run)
    wanted = rows[rows["wrong"] & ((rows["category"] == key) | (rows["predicted"] == key))]
    wanted = wanted.sort_values("confidence", ascending=False, kind="stable")
    errors_text(run, key, backend=BACKEND, out=tmp_path / "new" / "errors.csv")
    found = pd.read_csv(tmp_path / "new" / "errors.csv", keep_default_na=False, dtype=str)
    assert len(found) > 5
    for ours, theirs in (("product_id",) * 2, ("role",) * 2, ("key", "category"), ("predicted_key", "predicted")):
        assert found[ours].tolist() == wanted[theirs].astype(str).tolist()
    assert list(map(float, found["confidence"])) == wanted["confidence"].tolist(), "unrounded"
    assert not set(wanted["product_id"]) & set(data.run.split.query("role == 'certify'")["product_id"])
    [row] = data.run.certified.query("backend == @BACKEND and target == 0.9").to_dict("records")
    threshold = row["certified_threshold"] if row["certified"] else row["tuned_threshold"]
    assert found["accepted"].tolist() == (wanted["confidence"] >= threshold).astype(str).tolist()
    scores = open_scores(data.run, BACKEND)
    suspects = scores.products["product_id"].iloc[suspect_labels(scores).product]
    assert found["check_label"].tolist() == wanted["product_id"].isin(suspects).astype(str).tolist()


def test_counts_in_both_directions_with_rejected_products(run, data):
    rows = held(run)
    unreadable = rows[rows["predicted"] == ""]
    assert len(unreadable) == 3
    for key in {*unreadable["category"], "c01", "c03"}:
        found = category_errors(data, key, BACKEND)
        own, given = rows[rows["category"] == key], rows[rows["predicted"] == key]
        right = int((~own["wrong"]).sum())
        assert f"{right} of its {len(own)} products in tune and test" in found.head[1]
        assert f"{right} of the {len(given)} products put into it" in found.head[2]
        there, here, _ = found.tables
        for table, part, column in ((there, own, "predicted"), (here, given, "category")):
            counts = part[part["wrong"]][column].map(found.shown | {"": UNREADABLE}).value_counts()
            assert {row[0]: int(row[1]) for row in table.rows} == counts.to_dict()
            assert [int(row[1]) for row in table.rows] == sorted(counts, reverse=True)


def test_those_that_err_most(run, data):
    rows = held(run)
    grid = most_errors(data, BACKEND)
    counts = rows.groupby("category")["wrong"].agg(["size", "sum"]).query("sum > 0")
    assert {row[0]: (int(row[2]), int(row[3])) for row in grid.rows} == {
        key: (row["size"], row["sum"]) for key, row in counts.iterrows()
    }
    key, answer = grid.rows[0][0], grid.rows[0][-1]
    of_it = rows[rows["wrong"] & (rows["category"] == key) & (rows["predicted"] != "")]["predicted"].value_counts()
    assert int(re.search(r"\((\d+)\)$", answer)[1]) == of_it.max()
    text = errors_text(run, backend=BACKEND)
    assert f"    shelfbench errors {run} {key}" in text


def test_the_page_of_the_run_names_the_command_for_the_category_with_the_most_errors(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = re.search("<pre>(.*)</pre>", link_to_category(data).html)[1]
    verb, *words = shlex.split(html.unescape(command))
    assert (verb, main(words)) == ("shelfbench", 0)
    title = re.search("<h1>Why does (.*) err", (tmp_path / "errors.html").read_text())[1]
    assert most_errors(data, data.chosen).rows[0][0] in title


def test_a_category_is_found_by_key_and_by_name(data, run):
    assert [find_category(data, text) for text in ("c03", "C07", "category c07", "shoes", "BOOTS")] == [
        "c03",
        "c07",
        "c07",
        "c05",
        "c06",
    ]
    with pytest.raises(InputError, match=r"'Shoes' is the name of several categories; give the key: c03, c04$"):
        find_category(data, "Shoes")
    with pytest.raises(InputError, match="has no category 'Bots'; did you mean 'Boots'"):
        find_category(data, "Bots")
    assert "Shoes (c04)" in errors_text(run, "c03", backend=BACKEND), "which of the two it is"


def test_what_to_do_follows_from_what_is_found(data):
    found = category_errors(data, "c03", BACKEND)
    plain = found.frame.assign(check_label=False, predicted_key="c02", key="c03").head(9)

    def advice(rows, **changes):
        return replace(found, frame=rows, **changes).advice

    spread = plain.assign(predicted_key=["c00", "c01", *(f"c{number:02d}" for number in range(4, 11))])
    assert "no single cause" in advice(spread)
    assert advice(plain).startswith(f"{len(plain)} of {len(plain)} errors lie between this category and Category c02")
    assert "too few" in advice(plain.head(2)), "two errors are two errors"
    assert "1 error is too few" in advice(plain.head(1))
    assert "No errors" in advice(plain.head(0))
    assert "check these labels first" in advice(plain.assign(check_label=True), contradicted=0.5)
    assert "labels" not in advice(plain.assign(check_label=True), contradicted=0.99).partition(":")[0], "as elsewhere"
    assert "no photo can be read" in advice(plain.assign(predicted_key=""))
    assert "add some" in advice(plain, train=0)
    assert "only 9 products" in advice(spread, train=9, usual=200.0)
    assert "add some" in advice(plain, train=9, usual=200.0)
    assert "add some" not in advice(plain, train=9, usual=12.0)


def test_hostile_names(tmp_path):
    names = ugly_names(20)
    path = make_run(tmp_path / "run", products=300, categories=20, names=names, backends=TWO, own=True)
    shutil.rmtree(path / "scores")
    for out in ("errors.csv", "errors.html"):
        text = errors_text(path, names["c07"], backend=BACKEND, out=tmp_path / out)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)
    found = pd.read_csv(tmp_path / "errors.csv")
    assert "check_label" not in found, "no scores are kept"
    assert "'=cmd|' /C calc'!A1" in [*found["category"], *found["predicted"]]
    page = (tmp_path / "errors.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "line\\nbreak (c15)" in errors_text(path, "c15", backend=BACKEND)


def thumbnails(page):
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)">(.*?) → <b>(.*?)</b><br>[^·]* · (\d+)', text)
    return {
        int(product): np.asarray(Image.open(io.BytesIO(base64.b64decode(photo))).convert("RGB")).mean(axis=(0, 1))
        for photo, _, _, product in found
    }


def test_the_page_shows_photos_of_the_errors(run, tmp_path, capsys):
    page = tmp_path / "errors.html"
    assert main(["errors", str(run), "c03", "--backend", BACKEND, "--out", str(page)]) == 0
    assert "warning" not in capsys.readouterr().err
    rows = held(run).set_index("product_id")
    shown = thumbnails(page)
    assert 5 < len(shown) <= 60
    for product, colour in shown.items():
        row = rows.loc[product]
        assert row["wrong"]
        assert "c03" in (row["category"], row["predicted"])
        np.testing.assert_allclose(colour, COLOURS[int(row["category"][1:])], atol=6)
    assert [path.name for path in tmp_path.iterdir()] == ["errors.html"], "nothing is left beside it"
    assert not (run / "figures").exists()


@pytest.mark.parametrize("predicted", ["", None])
def test_a_category_without_errors_or_without_answers_has_a_page(copy, predicted, tmp_path, capsys):
    file = copy / "predictions" / f"{BACKEND}.parquet"
    rows = pd.read_parquet(file)
    own, taken = rows["category"] == "c07", rows["predicted"] == "c07"
    rows.loc[own, "predicted"] = "c07" if predicted is None else ""
    rows.loc[own, "confidence"] = -0.5 if predicted is None else -np.inf
    rows.loc[taken & ~own, "predicted"] = "c03"
    rows.to_parquet(file)
    for out in ("errors.html", "errors.csv"):
        assert main(["errors", str(copy), "c07", "--backend", BACKEND, "--out", str(tmp_path / out)]) == 0
    said, page = capsys.readouterr(), (tmp_path / "errors.html").read_text(encoding="utf-8")
    says = "No errors on 8 products" if predicted is None else "8 of 8 errors: no photo can be read"
    assert says in said.out
    assert says in page
    assert "warning" not in said.err
    assert len(pd.read_csv(tmp_path / "errors.csv")) == (0 if predicted is None else 8)


def test_products_that_have_another_category_now_have_no_photo(copy, run, tmp_path):
    shop = shutil.copytree(run.parent / "shop", tmp_path / "shop")
    table = pd.read_parquet(shop / "metadata.parquet")
    errors_text(copy, "c03", backend=BACKEND, out=tmp_path / "before.html")
    mended, *others = thumbnails(tmp_path / "before.html")
    table.loc[table["product_id"] == mended, "category"] = "c11"
    table.to_parquet(shop / "metadata.parquet", index=False)
    change(copy, name=str(shop))
    errors_text(copy, "c03", backend=BACKEND, out=tmp_path / "after.html")
    assert set(thumbnails(tmp_path / "after.html")) >= set(others)
    assert mended not in thumbnails(tmp_path / "after.html")
    assert "have another category in the data now: 1;" in (tmp_path / "after.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "shop-that-was"}, "no dataset 'shop-that-was'; go to the folder in which the run was started"),
        ({"name": "photos/shop"}, "photos/shop does not exist; go to the folder in which the run was started"),
        ({"products": 901}, "have changed since the run (901 products then, 900 now)"),
        ({"images": 899}, "have changed since the run (899 images then, 900 now)"),
        ({"pictures": False}, "the study says report.pictures = false"),
        ({"name": "cdiscount"}, "the dataset cdiscount is not here; say where it is with --data"),
    ],
)
def test_without_the_data_the_page_has_no_photos_and_says_why(copy, changes, why, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SHELFBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    change(copy, **changes)
    errors_text(copy, "c03", backend=BACKEND, out=tmp_path / "errors.html", console=Console())
    page = (tmp_path / "errors.html").read_text(encoding="utf-8")
    assert "The surest errors" in page
    assert "base64" not in page
    assert 'class="warn">no photos: ' in page
    assert why in capsys.readouterr().err


def test_data_of_a_relative_path_are_found_with_data(copy, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change(copy, name="shop")
    errors_text(copy, "c03", backend=BACKEND, out=tmp_path / "errors.html", data=run.parent)
    assert thumbnails(tmp_path / "errors.html")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["c03", "--out", "errors.xlsx"], "errors.xlsx is neither a table nor a page"),
        (["c03", "--out", "folder.csv"], "folder.csv is a folder"),
        (["--out", "errors.csv"], "--out is for the errors of one category"),
        (["c03", "--data", "."], "--data says where the photos of a page are"),
        (["c03", "--backend", "hog"], "has no predictions of 'hog'; choose from: hog-svm, bottleneck-svm"),
        (["c99", "--backend", BACKEND], "has no category 'c99'"),
    ],
)
def test_wrong_input_is_one_line(run, words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    assert main(["errors", str(run), *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]
