"""Table, figures and page of training profiles, from a run directory as the experiment leaves it."""

import html.parser
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.report.curves import Profile, drawing, figure_names
from shelfbench.report.profiles import report

QUIET = Console(quiet=True)
EVIL = "<script>alert('x')</script>"
VARIANTS = {
    "none": {"label": "no normalisation", "figures": ["figure3"], "seeds": (0, 1, 2), "parameters": 1000},
    "several": {"label": f"several {EVIL}", "figures": ["figure3", "figure4"], "seeds": (0, 1, 2), "parameters": 1200},
    "dry": {"label": "without dropout", "figures": ["figure4", "other"], "seeds": (5,), "parameters": None},
    "late": {"label": "still to come", "figures": ["figure4"], "seeds": (0,), "parameters": 1},
}


def history(rng, epochs, steps):
    values = {name: rng.uniform(0.1, 0.9, epochs) for name in ("loss", "accuracy", "val_loss", "val_accuracy", "lr")}
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame({"epoch": epoch, "step": steps * epoch, **values, "seconds": rng.uniform(1, 2, epochs)})


@pytest.fixture
def directory(tmp_path):
    """Four variants, one of them failed; one training ended an epoch early."""
    rng, backends, timings = np.random.default_rng(0), {}, []
    (tmp_path / "history").mkdir()
    for name, variant in VARIANTS.items():
        for seed in variant["seeds"]:
            training = f"{name}-seed{seed}"
            backends[training] = {"status": "done", "reason": "", "variant": name, "seed": seed, "chosen": {"epoch": 3}}
            if name == "late":
                backends[training].update(status="failed", reason="out of <memory>")
                continue
            made = history(rng, 3 if training == "none-seed2" else 4, 25)
            parameters = pd.array([variant["parameters"]] * len(made), "Int64")
            made.assign(variant=name, seed=seed, parameters=parameters).to_parquet(
                tmp_path / "history" / f"{training}.parquet"
            )
            for row in made.to_dict("records"):
                seconds = row["seconds"] + 100 * (row["epoch"] == 1)  # compilation
                timings.append((training, "epoch", int(row["epoch"]), seconds, 500, row["epoch"] == 1))
            timings.append((training, "fit", 0, 9.0, 500, False))
    columns = ["backend", "stage", "epoch", "seconds", "images", "warm_up"]
    pd.DataFrame(timings, columns=columns).to_parquet(tmp_path / "timings.parquet")
    study = {
        "title": f"Heads {EVIL}",
        "profiles": {"note": "What it cannot show: <much>."},
        "variants": {name: {key: variant[key] for key in ("label", "figures")} for name, variant in VARIANTS.items()},
    }
    record = {"study": study, "backends": backends, "command": "shelfbench run heads", "status": "failed", "seed": 0}
    (tmp_path / "run.json").write_text(json.dumps(record))
    return tmp_path


def test_the_table_is_what_pandas_makes_of_the_histories(directory):
    text = report(directory, QUIET)
    table = pd.read_csv(directory / "tables" / "profiles.csv").set_index("variant")
    assert list(table.index) == ["none", "several", "dry"]
    timings = pd.read_parquet(directory / "timings.parquet")
    for name, row in table.iterrows():
        files = sorted((directory / "history").glob(f"{name}-seed*.parquet"))
        histories = [pd.read_parquet(file) for file in files]
        last = np.array([history["val_accuracy"].iloc[-1] for history in histories])
        best = np.array([history["val_accuracy"].max() for history in histories])
        assert row["seeds"] == len(files)
        for column, values in (("val_accuracy_final", last), ("val_accuracy_best", best)):
            assert row[column] == pytest.approx(values.mean())
            deviation = row[f"{column}_sd"]
            assert deviation == pytest.approx(values.std(ddof=1)) if len(files) > 1 else np.isnan(deviation)
        names = [file.stem for file in files]
        warm = timings[timings["backend"].isin(names) & (timings["stage"] == "epoch") & (timings["epoch"] > 1)]
        assert row["seconds_per_epoch"] == pytest.approx(warm["seconds"].median())
        assert row["images_per_second"] == pytest.approx((500 / warm["seconds"]).median())
        assert row["updates"] == 100
    assert table.loc["several", "parameters"] == 1200
    assert np.isnan(table.loc["dry", "parameters"])
    spread = f"{table.loc['none', 'val_accuracy_best']:.3f} ± {table.loc['none', 'val_accuracy_best_sd']:.3f}"
    page = (directory / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")
    for shown in (text, (directory / "tables" / "profiles.md").read_text(encoding="utf-8"), page):
        assert spread in shown


def test_the_lines_are_means_over_the_seeds_where_all_are(directory):
    parts = [pd.read_parquet(file) for file in sorted((directory / "history").glob("none-seed*.parquet"))]
    profile = Profile("none", "none", ("figure3",), pd.concat(parts, ignore_index=True))
    spread = profile.over_seeds("val_loss")
    assert list(spread.index) == [25, 50, 75]  # one seed ended there
    values = np.stack([part["val_loss"].to_numpy()[:3] for part in parts])
    assert np.allclose(spread["mean"], values.mean(axis=0))
    assert np.allclose(spread["min"], values.min(axis=0))
    assert np.allclose(spread["max"], values.max(axis=0))


def comments(directory, name):
    """What is written in a figure: text drawn as paths keeps its words as comments."""
    return re.findall(r"<!-- (.*?) -->", (directory / "figures" / f"{name}.svg").read_text(encoding="utf-8"))


def test_each_figure_has_its_panels_and_says_what_its_band_is(directory):
    report(directory, QUIET)
    files = {path.name for path in (directory / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in ("figure3", "figure4", "other") for kind in ("png", "svg")}
    for path in (directory / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 1000
            assert (np.asarray(image.convert("L")) < 250).mean() > 0.01
    third, fourth, other = (comments(directory, name) for name in ("figure3", "figure4", "other"))
    assert {"validation cost (cross-entropy)", "validation precision", "no normalisation"} <= set(third)
    assert "mean of 3 seeds; band: minimum to maximum" in third
    assert third.count("updates") == 2
    assert {"without dropout", "training", "validation"} <= set(fourth)
    assert "no normalisation" not in fourth
    assert "mean of 1 to 3 seeds; band: minimum to maximum" in fourth
    assert {"other", "validation accuracy", "without dropout", "one seed each"} <= set(other)
    before = {path: path.read_bytes() for path in (directory / "figures").iterdir()}
    report(directory, QUIET)
    assert {path: path.read_bytes() for path in (directory / "figures").iterdir()} == before


def test_figures_come_in_the_order_of_their_numbers():
    names = ("segments", "figure10", "figure9")
    assert figure_names([Profile("a", "a", names, pd.DataFrame())]) == ["figure9", "figure10", "segments"]
    assert "X, Figure 10" in drawing("figure10").title
    assert drawing("mine").title == "mine"


class Tags(html.parser.HTMLParser):
    """Every tag, and whether all are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_says_what_it_cannot_show(directory):
    report(directory, QUIET)
    page = (directory / "report.html").read_text(encoding="utf-8")
    parsed = Tags(page)
    assert not parsed.open
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(images) == 3
    assert all(image["src"].startswith("data:image/svg+xml,") and image["alt"] for image in images)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"link", "iframe"})
    assert [attributes for tag, attributes in parsed.tags if tag == "script"] == [{}]  # the page's own, inside it
    for words in (
        "What it cannot show: &lt;much&gt;.",
        "late-seed0: failed (out of &lt;memory&gt;)",
        "shelfbench run heads",
    ):
        assert words in page


def test_damage_is_named(directory):
    def refuses(match):
        with pytest.raises(InputError, match=match):
            report(directory, QUIET)

    (directory / "history" / "dry-seed5.parquet").write_bytes(b"PAR1 not really")
    refuses(r"dry-seed5\.parquet cannot be read")
    (directory / "history" / "dry-seed5.parquet").unlink()
    refuses(r"dry-seed5\.parquet is missing")
    record = json.loads((directory / "run.json").read_text())
    for entry in record["backends"].values():
        entry["status"] = "pending"
    (directory / "run.json").write_text(json.dumps(record))
    refuses("no training in .* has finished")
    for text, words in (
        ("{", "cannot be read"),
        ("[]", "is not the record of a run"),
        ('{"study": {}, "backends": {}}', "is not a record of training profiles"),
        ('{"study": {"variants": {"a": {}}}, "backends": {}}', "is not a record of training profiles"),
        ('{"study": {"variants": {"a": {"label": 3}}}, "backends": {}}', "is not the record of a run"),
        ('{"study": {}, "backends": {"a": {"status": 1}}}', "is not the record of a run"),
    ):
        (directory / "run.json").write_text(text)
        refuses(rf"run\.json {words}")
    shutil.rmtree(directory)
    refuses("is not a run directory")
