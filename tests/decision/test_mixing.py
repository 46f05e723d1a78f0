"""A promise for the shop's own flow: how its mix is read, what is drawn from certify, and what is said."""

import numpy as np
import pyarrow as pa
import pytest

from shelfbench.base.errors import InputError
from shelfbench.decision.mixing import drawn, read_flow
from shelfbench.decision.rule import Requirement, judge
from shelfbench.verdict.flow import Flow
from shelfbench.verdict.predictions import ProductRule

SHARES = {"easy": 0.8, "hard": 0.15, "rare": 0.05}


def shop(seed=0, sizes=(50, 3000, 3000, 3000), right=(0.99, 0.7, 0.95)):
    """Products mixed as `SHARES`; hard ones are right less often, whatever their confidence."""
    rng = np.random.default_rng(seed)
    role = np.repeat(["train", "tune", "certify", "test"], sizes)
    truth = rng.choice(3, len(role), p=list(SHARES.values()))
    correct = rng.random(len(role)) < np.array(right)[truth]
    keys = np.array(list(SHARES))
    return pa.table(
        {
            "role": role,
            "category": keys[truth],
            "predicted": keys[np.where(correct, truth, (truth + 1) % 3)],
            "confidence": np.log(rng.uniform(0.3, 1, len(role))),
            "rejected": pa.array([None] * len(role), pa.string()),
        }
    )


def asked(table, flow, **further):
    required = Requirement(all_categories=True, flow=flow, **further)
    return judge(table, tuple(SHARES), required, ProductRule())


@pytest.mark.parametrize(
    "text",
    [
        "easy,0.5\nhard,0.5\n",
        "category,share\neasy,1\nhard,1\n",
        "Kategorie;Anteil\neasy;50%\nhard;50 %\n\n",
        "easy;0,5\nhard;0,5\nrare;0\n",
        "\ufeffeasy\t17\nhard\t17\n",
    ],
)
def test_a_mix_is_read_as_it_is_written(tmp_path, text):
    path = tmp_path / "mix.csv"
    path.write_text(text, encoding="utf-8")
    assert read_flow(str(path), shop()).shares == {"easy": 0.5, "hard": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("easy,0.5\nshoes,0.5\n", "line 2: the run has no category 'shoes'; name categories"),
        ("easy,0.5\nHARD,0.5\n", "line 2: the run has no category 'HARD'; did you mean 'hard'[?] name categories"),
        ("easy,0.5\neasy,0.5\n", "line 2: 'easy' stands there twice"),
        ("easy,0.5\nhard,-1\n", "line 2: '-1' is not a share"),
        ("easy,0.5\nhard,nan\n", "line 2: 'nan' is not a share"),
        ("easy,many\n", "line 1: 'many' is not a share"),
        ("easy,0.5,3\n", "line 1 has 3 columns"),
        ("easy,0\n", "no category has a share above 0"),
        ("", "names no category"),
        ("category;share\neasy,0.5\nhard,0.5\n", "line 2 has 1 column"),
        ("easy;1,200\nhard;800\n", "line 1: '1,200' has a mark that may be one of thousands or of decimals"),
        ("easy,1.200\nhard,800\n", "line 1: '1.200' has a mark that may be"),
        ("easy;1.234,5\n", "line 1: '1.234,5' is not a share"),
        ("easy,50%\nhard,0.5\n", "line 1 has a percent sign, and line 2 does not"),
        ("easy,1e308\nhard,1e308\n", "line 1: '1e308' is not a share"),
    ],
)
def test_a_wrong_mix_is_refused(tmp_path, text, message):
    path = tmp_path / "mix.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_flow(str(path), shop())
    with pytest.raises(InputError, match="cannot be read"):
        read_flow(str(tmp_path / "other.csv"), shop())


def test_a_mix_says_how_it_was_read(tmp_path):
    path = tmp_path / "mix.csv"
    path.write_text("esay,none\neasy,0.125\nhard,0.375\n", encoding="utf-8")
    assert read_flow(str(path), shop()).source == (
        "the mix of mix.csv (hard 75%, easy 25%; line 1, 'esay,none', taken for heads)"
    )
    path.write_text("esay,0.125\nhard,0.375\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1: the run has no category 'esay'; did you mean 'easy'"):
        read_flow(str(path), shop())


def test_what_is_drawn_is_mixed_as_the_flow_is_and_the_rest_stays():
    table = shop()
    flow = Flow({"easy": 0.4, "hard": 0.5, "rare": 0.1}, "x")
    found, before = drawn(flow, table).to_pandas(), table.to_pandas()
    for part in ("train", "test"):
        assert (found["role"] == part).sum() == (before["role"] == part).sum()
    mix = found[found["role"] == "certify"]["category"].value_counts(normalize=True)
    assert mix["hard"] == pytest.approx(0.5, abs=0.06)
    assert mix["rare"] == pytest.approx(0.1, abs=0.03)
    assert drawn(flow, table).equals(drawn(flow, table))
    whole = drawn(read_flow("catalogue", table), table)
    assert len(whole) > 0.85 * len(table)


def test_the_promise_is_for_the_flow_and_says_so():
    table = shop()
    usual = asked(table, None)
    assert (usual.verdict, usual.flow) == ("PASS", "")
    hard = asked(table, Flow({"easy": 0.2, "hard": 0.75, "rare": 0.05}, "the mix of my.csv"))
    assert hard.verdict == "FAIL"
    assert "for products at the mix of my.csv: " in hard.reason
    easy = asked(table, Flow({"easy": 0.9, "rare": 0.1}, "the mix of my.csv"))
    assert (easy.verdict, easy.flow) == ("PASS", "the mix of my.csv")
    assert easy.mix.precision == pytest.approx(0.9 * 0.99 + 0.1 * 0.95, abs=0.015)
    assert f"{easy.evidence[1].products:,} of 3,000 products to certify on are mixed so" in easy.reason


def test_categories_that_certify_lacks_are_named():
    table = shop()
    role, category = table["role"].to_numpy(), table["category"].to_numpy()
    without = table.filter(pa.array((role != "certify") | (category != "rare")))
    ruling = asked(without, Flow(SHARES, "my flow"))
    assert "nothing is promised of the categories that certify lacks, 5% of the flow" in ruling.reason
    with pytest.raises(InputError, match="certify has no product of the categories of my flow"):
        asked(without, Flow({"rare": 1.0}, "my flow"))


def missed(draws, right, seed):
    """Share of draws in which the weighted precision of what is certified is below 0.9."""
    flow, count = Flow({"easy": 0.3, "hard": 0.65, "rare": 0.05}, "x"), 0
    true = sum(share * chance for share, chance in zip(flow.shares.values(), right, strict=True))
    assert true < 0.9
    for number in range(draws):
        table = shop(seed * 10_000 + number, (1, 300, 300, 1), right)
        count += asked(table, flow).passed  # every threshold has the same true precision
    return count / draws


def test_the_weighted_promise_is_kept():
    assert missed(100, (0.99, 0.855, 0.9), 1) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.slow
@pytest.mark.parametrize("right", [(0.99, 0.855, 0.9), (1, 0.85, 0.9), (0.9, 0.899, 0.8)])
def test_the_weighted_promise_is_kept_in_two_thousand_draws(right):
    assert missed(2000, right, 2) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
