"""``shelfbench watch``: labelled products in, OK, WARNING or BROKEN out, and a state beside the decision."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shelfbench
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.decision import watching_rows, watching_state
from shelfbench.decision.evidence import Evidence
from shelfbench.decision.rule import Verdict
from shelfbench.verdict.monitor import Status
from tests.helpers.decisions import STRIPES, edit, make_decision

KEYS = list(STRIPES)
SEEN = Evidence(
    role="certify",
    products=500,
    accepted=400,
    correct=370,
    precision_low=0.89,
    precision_high=0.95,
    acceptance_low=0.75,
    acceptance_high=0.84,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "decision"
    return make_decision(folder, evidence=(SEEN,), certified_mix=(200, 120, 80), threshold=math.log(0.6))


@pytest.fixture
def decision(made, tmp_path):
    return copied(made, tmp_path / "decision")


def copied(made, folder):
    folder.mkdir(parents=True)
    for file in made.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def flow(count, precision, first=0, **columns):
    """Make labelled products in the order of time, every tenth of them (at 0.9) wrong."""
    per_mille = round(1000 * (1 - precision))
    wrong = np.arange(1, count + 1) * per_mille // 1000 > np.arange(count) * per_mille // 1000
    truth = np.arange(count) % 3
    days = pd.Timestamp("2026-11-02") + pd.to_timedelta(np.arange(count) * 7 * 86_400 // count, unit="s")
    frame = {
        "product_id": [f"p{first + number}" for number in range(count)],
        "predicted": [KEYS[(code + bad) % 3] for code, bad in zip(truth, wrong, strict=True)],
        "category": [KEYS[code] for code in truth],
        "time": days.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    return pd.DataFrame({**frame, **columns})


def write(frame, path):
    frame.to_csv(path, index=False)
    return path


def state_of(decision):
    return decision.with_name("decision-watch.npz")


def counted(found):
    bet = found.state.monitor
    return bet.labels, bet.right, bet.broken_at


@pytest.mark.parametrize(("precision", "status", "code"), [(0.95, "OK", 0), (0.82, "WARNING", 4), (0.7, "BROKEN", 3)])
def test_verdict_and_exit_code(decision, tmp_path, capsys, precision, status, code):
    table = write(flow(150, precision), tmp_path / "labelled.csv")
    assert main(["watch", str(decision), str(table)]) == code
    out = capsys.readouterr().out
    assert out.startswith(f"{status}: ")
    assert f"{(precision * 1000 * 150 + 999) // 1000:.0f} of 150 labelled products so far are right" in out
    assert state_of(decision).is_file()
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_tomorrows_table_continues_and_what_was_seen_is_not_counted_twice(decision):
    whole = flow(120, 0.85)
    shelfbench.watch(decision, whole[:50])
    again = shelfbench.watch(decision, whole)  # a growing export contains yesterday's rows
    assert again.labels == 70
    assert any(note == "seen before, and not counted again: 50 rows" for note in again.notes)
    twice = shelfbench.watch(decision, whole)
    assert (twice.labels, counted(twice)) == (0, counted(again))
    at_once = shelfbench.watch(decision, whole, state=decision.with_name("other.npz"))
    assert counted(at_once) == counted(again)
    assert at_once.evidence == pytest.approx(again.evidence, rel=1e-12)


def test_a_product_is_labelled_days_after_it_came(decision):
    came = flow(30, 0.9)
    first = shelfbench.watch(decision, came.assign(category=None))
    assert first.status == Status.WARNING
    assert "no accepted product has a label yet" in str(first)
    then = shelfbench.watch(decision, came)
    assert (then.labels, then.table.loc["2026-W45", "products"]) == (30, 30)


def test_the_order_is_that_of_time_and_not_of_rows(decision):
    falls = pd.concat([flow(100, 0.99), flow(100, 0.5, first=100).assign(time="2026-11-20")])
    broken_at = counted(shelfbench.watch(decision, falls))[2]
    assert 100 < broken_at < 150
    mixed = falls.sample(frac=1, random_state=0)
    found = shelfbench.watch(decision, mixed, state=decision.with_name("mixed.npz"))
    assert 100 < counted(found)[2] < 160
    late = shelfbench.watch(decision, flow(5, 1, first=900).assign(time="2026-11-01"))
    assert any("counted as it came: 5 labels" in note for note in late.notes)


@pytest.mark.parametrize("kind", ["csv", "semicolons", "jsonl", "parquet", "frame", "blocks", "categorical"])
def test_every_kind_of_table_says_the_same(decision, tmp_path, monkeypatch, kind):
    frame = flow(90, 0.8, confidence=np.linspace(0.6, 1, 90), accepted=np.arange(90) % 9 > 0)
    path = tmp_path / "labelled"
    if kind == "csv":
        path = write(frame, path.with_suffix(".csv"))
    elif kind == "semicolons":
        path = path.with_suffix(".csv")
        frame.to_csv(path, index=False, sep=";")
    elif kind == "jsonl":
        path = path.with_suffix(".jsonl")
        frame.to_json(path, orient="records", lines=True)
    elif kind == "parquet":
        path = path.with_suffix(".parquet")
        frame.assign(time=pd.to_datetime(frame.time)).to_parquet(path)
    elif kind == "blocks":
        monkeypatch.setattr(watching_rows, "BLOCK", 7)
        path = write(frame, path.with_suffix(".csv"))
    elif kind == "categorical":
        path = frame.astype({"predicted": "category", "category": "category"})
    else:
        path = frame
    found = shelfbench.watch(decision, path)
    table = found.table
    assert counted(found) == (80, 64, None)
    assert table.loc["2026-W45", ["products", "accepted", "labelled", "right"]].tolist() == [90, 80, 80, 64]
    assert table.loc["certify", ["products", "accepted", "right"]].tolist() == [500, 400, 370]


HEAD = "product_id,predicted,category"
WRONG = {
    "no column predicted (it has product_id, category)": "product_id,category\n1,lying\n",
    "it is what classify wrote": "product,category,name,confidence,suggestion,reason\n1,lying,Lying,0.9,lying,\n",
    "is empty": "",
    "has no rows": f"{HEAD}\n",
    "row 2 has no product_id": f"{HEAD}\n,lying,lying\n",
    "row 3 has 'sitting' in the column predicted, which the decision does not know": f"{HEAD}\n1,lying,\n2,sitting,\n",
    "row 2 has the name 'Lying' in the column category": f"{HEAD}\n1,lying,Lying\n",
    "row 2 was accepted, but its predicted is 'review'": f"{HEAD},accepted\n1,review,lying,yes\n",
    "row 2 has the confidence 'nan'": f"{HEAD},confidence\n1,lying,lying,nan\n",
    "row 2 has the confidence '1.2'": f"{HEAD},confidence\n1,lying,lying,1.2\n",
    "row 2 has 'perhaps' in the column accepted": f"{HEAD},accepted\n1,lying,lying,perhaps\n",
    "row 2 has '' in the column accepted": f"{HEAD},accepted\n1,lying,lying,\n",
    "row 2 has the time '28.11.2026'": f"{HEAD},time\n1,lying,lying,28.11.2026\n",
    "row 2 has the time ''": f"{HEAD},time\n1,lying,lying,\n",
    "lies before 1990": f"{HEAD},time\n1,lying,lying,0001-01-01\n",
    "confidence of 0.3000, but the decision accepts from 0.6000": f"{HEAD},confidence,accepted\n1,lying,lying,0.3,1\n",
    "line 2 has 2 cells, but the header has 3": f"{HEAD}\n1,lying\n",
    "line 2 is not CSV": f'{HEAD}\n1,"lying\n',
    "the column 'category' more than once": f"{HEAD},category\n1,lying,lying,lying\n",
    "20 of 20 labelled products have categories that the decision does not know, such as 'shoes'": f"{HEAD}\n"
    + "".join(f"{number},lying,shoes\n" for number in range(20)),
}


@pytest.mark.parametrize("said", WRONG)
def test_a_wrong_table_is_one_line_and_leaves_the_state_alone(decision, tmp_path, capsys, said):
    shelfbench.watch(decision, flow(20, 0.9))
    before = state_of(decision).read_bytes()
    table = tmp_path / "labelled.csv"
    table.write_text(WRONG[said])
    assert main(["watch", str(decision), str(table)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert "labelled.csv" in err
    assert state_of(decision).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.csv", None, "does not exist"),
        ("a.xlsx", b"PK\x03\x04", "is not a table that can be read"),
        ("a.csv", b"PAR1\0\0", "but Parquet"),
        ("a.parquet", b"nothing", "cannot be read"),
        ("a.jsonl", b'{"product_id": 1}\n[]\n', "line 2 is not an object"),
        ("a.jsonl", b'{"product_id": [1], "predicted": "lying", "category": null}', "neither text nor a number"),
        ("a.csv", b"\xff\xfea", "is damaged"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(decision, tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        shelfbench.watch(decision, tmp_path / name)


def test_numbers_that_pandas_made_of_keys_are_told_and_not_counted_as_errors(made, tmp_path):
    decision = copied(made, tmp_path / "numbers")
    edit(decision, lambda values: [entry.update(key=str(n)) for n, entry in enumerate(values["categories"], 7)])
    table = tmp_path / "a.csv"
    table.write_text(f"{HEAD}\n1,7,7.0\n2,8,\n")
    with pytest.raises(InputError, match=r"'7\.0' in the column category, and the category is '7'"):
        shelfbench.watch(decision, table)
    frame = pd.DataFrame({"product_id": [1, 2], "predicted": [7, 8], "category": [7, np.nan]})
    assert counted(shelfbench.watch(decision, frame)) == (1, 1, None)


def test_only_a_decision_that_passed_is_watched(decision, made, tmp_path):
    def fail(values):
        values |= {"verdict": Verdict.FAIL.value, "threshold": None}

    edit(decision, fail)
    with pytest.raises(InputError, match=r"did not pass \(FAIL\)"):
        shelfbench.watch(decision, flow(5, 1))
    (decision / "more.txt").write_text("x")
    with pytest.raises(InputError, match="not part of a decision"):
        shelfbench.watch(decision, flow(5, 1))
    other = copied(made, tmp_path / "other")
    (other / "decision.json").write_text("{}")
    with pytest.raises(InputError, match="does not have the hash"):
        shelfbench.watch(other, flow(5, 1))


def test_a_mix_that_is_not_of_these_categories_is_refused(decision):
    edit(decision, lambda values: values.update(certified_mix=[1, 2]))
    with pytest.raises(InputError, match="certified_mix does not have a number for each category"):
        shelfbench.watch(decision, flow(5, 1))


def test_decisions_of_earlier_versions_are_watched_without_their_mix(decision):
    edit(decision, lambda values: values.pop("certified_mix"))
    assert "does not hold the mix of categories" in str(shelfbench.watch(decision, flow(5, 1)))


def test_the_state_of_another_decision_is_refused(decision):
    shelfbench.watch(decision, flow(20, 0.9))
    edit(decision, lambda values: values.update(reason="decided anew"))
    with pytest.raises(InputError, match="is the state of another decision"):
        shelfbench.watch(decision, flow(20, 0.9))


@pytest.mark.parametrize("place", ["decision/state.npz", "labelled.csv", "folder"])
def test_a_state_is_not_written_over_something_else(decision, tmp_path, place):
    (tmp_path / "folder").mkdir()
    table = write(flow(5, 1), tmp_path / "labelled.csv")
    before = table.read_bytes()
    with pytest.raises(InputError):
        shelfbench.watch(decision, table, state=tmp_path / place)
    assert table.read_bytes() == before


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_damaged_state_is_one_line(made, tmp_path_factory, data):
    decision = copied(made, tmp_path_factory.mktemp("damaged") / "decision")
    shelfbench.watch(decision, flow(40, 0.9))
    path = state_of(decision)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = shelfbench.watch(decision, flow(41, 0.9))
    except InputError as error:
        assert "decision-watch.npz" in error.message
    else:  # the damage is in a date or another part of the archive that says nothing
        assert counted(found) == (41, 37, None)
        assert found.labels == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["monitor"].update(labels=39),
        lambda record: record["monitor"].update(right=41),
        lambda record: record["monitor"].update(held=[1.0]),
        lambda record: record["monitor"].update(held=[-1.0] * 5),
        lambda record: record["monitor"].update(cash=0.5),
        lambda record: record["monitor"].update(broken_at=4),
        lambda record: record["weeks"].clear(),
        lambda record: record.update(format=2),
        lambda record: record.update(more=1),
    ],
)
def test_a_state_that_contradicts_itself_is_refused(decision, change):
    shelfbench.watch(decision, flow(40, 0.9))
    with np.load(state_of(decision)) as arrays:
        parts = dict(arrays)
    record = json.loads(parts["record"].tobytes())
    change(record)
    parts["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    np.savez(state_of(decision), **parts)
    with pytest.raises(InputError, match=r"decision-watch\.npz is damaged"):
        shelfbench.watch(decision, flow(40, 0.9))


def test_a_state_executes_nothing(decision):
    np.savez(state_of(decision), record=np.array([Path("x")], object), flow=[], labelled=[], contents=[])
    with pytest.raises(InputError, match="is damaged"):
        shelfbench.watch(decision, flow(5, 1))


def test_a_failed_write_leaves_the_earlier_state(decision, monkeypatch):
    shelfbench.watch(decision, flow(20, 0.9))
    before = state_of(decision).read_bytes()

    def fail(handle, **arrays):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watching_state.np, "savez_compressed", fail)
    with pytest.raises(shelfbench.ShelfbenchError, match="no space left"):
        shelfbench.watch(decision, flow(40, 0.9))
    assert state_of(decision).read_bytes() == before
    assert [path.name for path in decision.parent.iterdir() if "partial" in path.name] == []


def test_other_labels_than_before_are_told_and_the_first_counts(decision, capsys):
    first = shelfbench.watch(decision, flow(20, 1))
    other = flow(20, 1).assign(category=KEYS[0], predicted=KEYS[1])
    again = shelfbench.watch(decision, other)
    assert counted(again) == counted(first)
    assert "20 rows with another label or prediction than before; the first one counts" in capsys.readouterr().err


def test_confidences_are_used_and_a_biased_sample_is_told(decision, capsys):
    rng = np.random.default_rng(0)
    frame = flow(600, 0.92, confidence=rng.uniform(0.6, 1, 600))
    asked = rng.permutation(600) < 60
    frame.loc[~asked, "category"] = None
    found = shelfbench.watch(decision, frame)
    assert found.labels == 60
    assert found.state.monitor.squared > 0
    assert any("confidences of 540 accepted products without a label" in note for note in found.notes)
    assert "drawn at random" not in capsys.readouterr().err
    doubtful = flow(600, 0.92, first=1000, confidence=np.linspace(0.6, 1, 600))
    doubtful.loc[80:, "category"] = None
    shelfbench.watch(decision, doubtful)
    assert "the labelled products are less sure than the others" in capsys.readouterr().err


def test_the_flow_is_compared_with_what_certified_it(decision):
    frame = flow(400, 1, accepted=np.arange(400) % 2 == 0)
    frame["predicted"] = frame["category"] = KEYS[2]
    said = str(shelfbench.watch(decision, frame))
    assert "acceptance in 2026-W45 is 0.500, and was 0.800 when the threshold was certified" in said
    assert "slanting 0.200 → 1.000" in said
    assert "more than chance" in said
    alike = flow(400, 1, first=1000, accepted=np.arange(400) % 5 > 0)
    alike["predicted"] = alike["category"] = np.repeat(KEYS, [200, 120, 80])
    said = str(shelfbench.watch(decision, alike, state=decision.with_name("alike.npz")))
    assert "acceptance in" not in said
    assert "mixed as those of certify" in said


def test_who_was_accepted_is_said_by_columns_or_by_the_decision(decision):
    frame = flow(8, 1, confidence=[0.61, 0.59, 0.6, 0.2, 1, 1, 1, np.nan])
    other = decision.with_name("b.npz")
    assert shelfbench.watch(decision, frame, state=other).labels == 5  # by the threshold
    reasons = frame.assign(reason=["", "below the threshold", *[""] * 5, "unlike the products it has learned"])
    found = shelfbench.watch(decision, reasons.drop(columns="confidence"), state=decision.with_name("c.npz"))
    assert (found.labels, found.table.loc["2026-W45", "strangers"]) == (6, 1)
    assert shelfbench.watch(decision, frame.drop(columns="confidence"), state=decision.with_name("d.npz")).labels == 8


def test_products_answered_above_the_category_are_not_part_of_this_promise(decision):
    levels = np.where(np.arange(20) < 5, "level1", np.where(np.arange(20) < 8, "review", "category"))
    frame = flow(20, 1, level=levels, accepted=levels != "review")
    frame.loc[:4, ["predicted", "category"]] = "Stripes"
    found = shelfbench.watch(decision, frame)
    assert (found.labels, found.table.loc["2026-W45", "accepted"]) == (12, 17)
    assert any("answered at a level above the category, and so not watched: 5 products" in note for note in found.notes)
