"""Table 3 of both papers: arithmetic of the projections, cells, what fits a week, damaged and missing files."""

import csv
import dataclasses
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, span
from shelfbench.cost.measurements import MatrixPeak, Measurements, Part, Repeated
from shelfbench.cost.timing import projected
from shelfbench.report.backbones import backbone_rows, precisions_of
from shelfbench.report.claims import load_claims
from shelfbench.report.table3 import table3_grid, table3x_grid, training_costs
from shelfbench.report.timing import report
from tests.helpers.sources import PYTHONPATH

QUIET = Console(quiet=True)
DAY, HOUR = 86400.0, 3600.0


def repeated(stage, way, images, seconds, waited=()):
    return Repeated(
        stage=stage,
        way=way,
        images=images,
        steps=10,
        first=3.0,
        warm_up=1.0,
        seconds=tuple(seconds),
        waited=tuple(waited),
    )


def device(name="Some GPU", *, resident=0.5, jpeg=1.0, head=0.02):
    """Measurements of one network and one head, with known times."""
    network = {"pixels": 299, "batch": 100, "precision": "mixed_bfloat16", "memory_mib": 2048.0, "memory_of": "device"}
    full = Part(
        name="full inception_v3",
        status="done",
        parameters=23_817_352,
        multiply_accumulates=5_713_000_000,
        measured=(
            repeated("full_epoch", "resident", 1000, (resident, resident * 0.9, resident * 1.1)),
            repeated("full_epoch", "jpeg", 1000, [jpeg] * 3, [jpeg / 4] * 3),
        ),
        **network,
    )
    extract = Part(
        name="extract inception_v3",
        status="done",
        multiply_accumulates=5_711_000_000,
        measured=(
            repeated("extract", "resident", 1000, [resident / 3] * 3),
            repeated("extract", "jpeg", 1000, [jpeg / 2] * 3),
        ),
        **network,
    )
    measured = (repeated("head_epoch", "on device", 10_000, [head]), repeated("head_epoch", "ordinary", 5_000, [head]))
    heads = Part(name="head 2048", status="done", batch=256, precision="mixed_bfloat16", measured=measured)
    broken = Part(name="full vgg16", status="failed", reason="RESOURCE_EXHAUSTED: out of memory")
    peaks = tuple(
        MatrixPeak(precision=precision, side=8192, flops=flops, low=flops, high=flops)
        for precision, flops in (("float32", 4e14), ("bfloat16", 7e14))
    )
    return Measurements(
        device=name,
        kind="gpu",
        engine="jax",
        machine={},
        versions={},
        settings={},
        peaks=peaks,
        parts=(full, heads, broken, extract),
    )


def rows_of(devices, source):
    return [row for row in training_costs(devices) if row.source == source]


def test_the_papers_totals_follow_from_its_epochs_by_the_reading_of_a_million_images():
    full, heads = rows_of([], "paper, recomputed")
    # 500 s agree with the printed totals to the last digit (27.7 is cut, not rounded); 33,000 s make 9% more than
    # printed
    assert math.floor(heads.seconds_20m10 / HOUR * 10) / 10 == 27.7
    assert f"{heads.seconds_20m50 / DAY:.1f}" == "5.8"
    assert f"{full.seconds_20m10 / DAY:.1f}" == "76.4"
    assert f"{full.seconds_20m50 / DAY:.1f}" == "381.9"
    printed, printed_heads = rows_of([], "paper, printed")
    assert full.seconds_20m10 / printed.seconds_20m10 == pytest.approx(1.091, abs=5e-4)
    assert full.seconds_20m50 / printed.seconds_20m50 == pytest.approx(1.091, abs=5e-4)
    assert (printed.seconds_20m10, printed.seconds_20m50) == (70 * DAY, 350 * DAY)
    assert (printed_heads.seconds_20m10, printed_heads.seconds_20m50) == (27.7 * HOUR, 5.8 * DAY)


def test_only_bottlenecks_fit_the_papers_week():
    for source in ("paper, printed", "paper, recomputed"):
        full, heads = rows_of([], source)
        assert (full.fits_20m10, full.fits_20m50) == (False, False)
        assert (heads.fits_20m10, heads.fits_20m50) == (True, True)


@given(st.floats(1e-3, 1e6), st.integers(1, 100), st.integers(1, 10**9))
def test_projections_are_proportional(seconds, passes, images):
    assert projected(seconds, passes, images) == pytest.approx(seconds * passes * images / 1e6)
    assert projected(seconds, 2 * passes, images) == pytest.approx(2 * projected(seconds, passes, images))


def test_measured_rows_are_projected_from_jpeg_with_extraction_apart():
    full, on_device, ordinary = rows_of([device()], "measured")
    assert full.way == "jpeg"
    assert full.seconds_per_million == pytest.approx(1000)
    assert full.seconds_20m10 == pytest.approx(1000 * 200)
    assert math.isnan(full.extraction_20m)
    assert (full.fits_20m10, full.fits_20m50) == (True, False)  # 2.3 and 11.6 days
    assert (on_device.way, ordinary.way) == ("on device", "ordinary")
    assert on_device.seconds_per_million == pytest.approx(2)
    assert on_device.extraction_20m == pytest.approx(0.5e-3 * 20e6)
    assert on_device.seconds_20m50 == pytest.approx(2000)
    assert (on_device.images, full.images) == (10_000, 3000)


def test_extraction_counts_where_a_week_is_asked_for():
    _, slow, _ = rows_of([device(jpeg=70.0)], "measured")
    assert slow.extraction_20m == pytest.approx(0.035 * 20e6)  # 8.1 days
    assert slow.seconds_20m50 < 7 * DAY
    assert not slow.fits_20m50


def test_cells_of_table_3_of_c():
    grid = table3_grid([device()])
    cells = {row[:2]: row for row in grid.rows}
    assert cells["full tuning", "paper, printed"][-2:] == ("70.0 days, does not fit", "350.0 days, does not fit")
    assert cells["full tuning", "paper, recomputed"][-2:] == ("76.4 days, does not fit", "381.9 days, does not fit")
    assert cells["bottlenecks + 2NN", "paper, printed"][-2:] == ("27.7 hours, fits", "5.8 days, fits")
    ours = cells["full tuning, Inception V3", "measured, jpeg"]
    assert ours[2:7] == ("Some GPU", "299", "mixed_bfloat16", "3,000", "1,000 [1,000, 1,000]")
    assert ours[-2:] == ("2.3 days, fits", "11.6 days, does not fit")
    assert cells["bottlenecks + 2NN-2048", "measured, on device"][7] == "2.8 hours"
    assert any("full vgg16 failed on Some GPU: RESOURCE_EXHAUSTED" in note for note in grid.notes)


def test_cells_of_table_3_of_x():
    grid = table3x_grid([device()])
    [row] = grid.rows
    cells = dict(zip(grid.headers, row, strict=True))
    assert cells["Network"] == "Inception V3"
    assert cells["Parameters"] == "23,817,352"
    assert cells["Paper: parameters"] == "23,626,728"
    assert cells["Paper: steps/s"] == "31"
    assert cells["Images/s per device"] == "2,000"
    assert cells["Steps/s [quartiles]"] == "20.0 [19.0, 21.1]"
    # 2,000 images/s x 6 x 5.713 GMAC of 700 TFLOP/s in the type that mixed precision multiplies in
    assert cells["FLOP/s of peak"] == f"{100 * 2000 * 6 * 5.713e9 / 7e14:.1f}%"
    assert cells["Images/s from JPEG"] == "1,000"
    assert cells["Waited for data"] == "25.0%"
    assert cells["Peak memory"] == "2.0 GiB of device"
    assert cells["First step"] == "3 s"


def test_the_papers_count_stands_beside_the_form_that_it_counted():
    today, decode, *rest = device().parts
    port = dataclasses.replace(today, name="full inception_v3_2016", parameters=23_626_728)
    measured = dataclasses.replace(device(), parts=(today, port, decode, *rest))
    grid = table3x_grid([measured])
    at = grid.headers.index("Paper: parameters")
    assert [(row[0], row[5], row[at]) for row in grid.rows] == [
        ("Inception V3", "23,817,352", MISSING),
        ("Inception V3, Keras' port of 2016", "23,626,728", "23,626,728"),
    ]
    assert sum("Inception" in row[0] for row in table3_grid([measured]).rows) == 1


def test_a_report_is_made_of_files_alone_and_puts_the_runs_own_device_first(tmp_path):
    device("Ours").write(tmp_path / "device.json")
    device("A GPU elsewhere", jpeg=0.5).write(tmp_path / "a-gpu.json")
    text = report(tmp_path, QUIET)
    assert text.index("Ours") < text.index("A GPU elsewhere")
    for name in ("table3", "table3x", "backbones"):
        for suffix in ("csv", "md", "tex"):
            assert (tmp_path / "tables" / f"{name}.{suffix}").stat().st_size > 100
    with open(tmp_path / "tables" / "table3.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(training_costs([device(), device()]))
    assert {row["fits_20m50"] for row in rows} == {"True", "False"}
    for suffix in (".png", ".svg"):
        assert (tmp_path / "figures" / f"backbones{suffix}").stat().st_size > 1000
    first = (tmp_path / "figures" / "backbones.svg").read_bytes()
    report(tmp_path, QUIET)
    assert (tmp_path / "figures" / "backbones.svg").read_bytes() == first


def finished_run(folder):
    backends = {
        "hog-svm": {"settings": {"hog": {}}},
        "bottleneck-svm": {"settings": {"backbone": {"name": "inception_v3"}}},
        "bottleneck-2nn-512": {"settings": {"backbone": {"name": "inception_v3"}}},
    }
    (folder / "tables").mkdir(parents=True)
    record = {"backends": backends, "dataset": {"name": "shop", "title": "A shop"}}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    lines = ["backend,split,precision"]
    for backend, validation, test in (
        ("hog-svm", 0.9, 0.9),
        ("bottleneck-svm", 0.8, 0.7),
        ("bottleneck-2nn-512", 0.7, 0.8),
    ):
        lines += [f"{backend},validation,{validation}", f"{backend},test,{test}"]
    (folder / "tables" / "table4.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_precision_is_that_of_the_backend_chosen_on_validation(tmp_path):
    found = precisions_of(finished_run(tmp_path / "other"))
    assert found["inception_v3"].backend == "bottleneck-svm"
    assert found["inception_v3"].precision == 0.7
    [row] = backbone_rows([device()], found)
    assert row["precision"] == 0.7
    [row] = backbone_rows([device()], {})
    assert math.isnan(row["precision"])


def test_a_report_reads_precisions_from_the_run_that_its_study_names(tmp_path):
    device().write(tmp_path / "device.json")
    other = finished_run(tmp_path / "other")
    record = {"study": {"timing": {"precision_from": str(other)}}}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    report(tmp_path, QUIET)
    table = (tmp_path / "tables" / "backbones.md").read_text(encoding="utf-8")
    assert "0.700" in table
    assert "bottleneck-svm on A shop" in table
    (other / "tables" / "table4.csv").unlink()
    with pytest.raises(InputError, match=r"timing\.precision_from: .*other has no precisions"):
        report(tmp_path, QUIET)


def test_the_page_names_what_failed_and_shows_both_tables(tmp_path):
    device().write(tmp_path / "device.json")
    backends = {"full vgg16": {"status": "failed", "reason": "out of <memory>"}, "head 2048": {"status": "done"}}
    record = {"study": {"title": "On this machine"}, "backends": backends, "command": "shelfbench run timing"}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    report(tmp_path, QUIET)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in (
        "On this machine",
        "full vgg16: failed (out of &lt;memory&gt;)",
        "Table 3 of C.",
        "Table 3 of X.",
        "shelfbench run timing",
    ):
        assert words in page
    (tmp_path / "run.json").unlink()
    report(tmp_path, QUIET)
    assert "This run" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_tables_for_the_terminal_need_neither_pandas_nor_matplotlib():
    # a machine that only takes measurements may have neither
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'matplotlib', 'jinja2'])); "
        "from shelfbench.report.table3 import short_table; print(len(short_table([])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 500


def test_a_directory_without_measurements_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="contains no measurements"):
        report(tmp_path, QUIET)
    (tmp_path / "device.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"device\.json cannot be read"):
        report(tmp_path, QUIET)


def test_claims_of_table_3_are_those_of_the_ledger():
    claims = {name: claim.value for name, claim in load_claims().items()}
    assert (claims["C16"]["epoch_seconds"], claims["C19"]["epoch_seconds"]) == (33_000, 500)
    assert [claims[name]["passes"] for name in ("C17", "C18", "C20", "C21")] == [10, 50, 10, 50]
    assert claims["C14"]["days"] == 7
    assert (claims["X20"]["parameters"], claims["X21"]["parameters"]) == (23_626_728, 22_855_952)
    assert (claims["X20"]["steps_per_second"], claims["X21"]["steps_per_second"]) == (31, 28)
    sizes = claims["X20"]["parameters"], claims["X21"]["parameters"]
    assert max(sizes) / min(sizes) - 1 <= claims["X22"]["within"]
    top = {claim["network"]: (claim["top_1"], claim["top_5"]) for claim in claims.values() if "top_1" in claim}
    assert top == {
        "vgg16": (0.715, 0.901),
        "resnet152": (0.770, 0.933),
        "inception_v3": (0.782, 0.941),
        "xception": (0.790, 0.945),
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (76.39 * DAY, "76.4 days"),
        (27.7 * HOUR, "27.7 hours"),
        (500, "8.3 minutes"),
        (1.842, "1.84 s"),
        (0.012, "0.0120 s"),
    ],
)
def test_spans_are_in_the_unit_that_suits(seconds, words):
    assert span(seconds) == words


def test_text_keeps_columns_apart():
    lines = table3x_grid([device(), device("Another")]).text().splitlines()
    head = lines[1]
    for line in lines[3:5]:
        assert line[head.index("Device") - 2 : head.index("Device")] == "  "
