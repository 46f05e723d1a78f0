"""The search for C: beyond the grid only where the best lies at its end, and nothing inside changes for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shelfbench_baselines.linear_svm as module
from shelfbench.base.console import Console
from shelfbench.plugins.backend import as_record
from shelfbench.study.read import read_study
from shelfbench_baselines.descent import Solution
from shelfbench_baselines.grid_search import STEPS, Search, beyond
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings
from tests.baselines.test_linear_svm import fitted, likelihood, material

GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def searched(precision, grid=GRID):
    """Search with a given precision for each C; return the search and what was solved beyond the grid."""
    search, solved = Search(lambda C, solution: precision(C)), []
    for C in grid:
        search.add(C, nothing(C))

    def solve(C):
        solved.append(C)
        return nothing(C)

    search.extend(solve)
    return search, solved


def nothing(C):
    return Solution(np.full((1, 1), C), np.zeros(1), np.zeros(1), np.zeros(1, np.int64))


def peak(at):
    return lambda C: 0.9 - abs(np.log10(C / at)) / 100


def test_the_grid_goes_on_by_its_own_factor():
    assert beyond([3e-4, 1e-3, 3e-3], largest=False) == 1e-4
    assert beyond([1e-4, 3e-4, 1e-3], largest=False) == 3e-5
    assert beyond([3e-3, 1e-2, 3e-2], largest=True) == 0.1
    assert beyond([1e-2, 3e-2, 0.1], largest=True) == 0.3
    assert beyond([0.1, 1.0], largest=True) == 10.0
    assert beyond([0.1, 1.0], largest=False) == 0.01


@pytest.mark.parametrize(
    ("at", "solved", "best", "edge"),
    [
        (3e-3, [], 3e-3, ""),
        (3e-4, [1e-4], 3e-4, ""),
        (3e-5, [1e-4, 3e-5, 1e-5], 3e-5, ""),
        (1e-9, [1e-4, 3e-5, 1e-5, 3e-6], 3e-6, "smallest"),
        (3e-2, [0.1], 3e-2, ""),
        (1e5, [0.1, 0.3, 1.0, 3.0], 3.0, "largest"),
    ],
)
def test_it_goes_on_while_tune_improves_and_not_for_ever(at, solved, best, edge):
    search, found = searched(peak(at))
    assert (found, search.best, search.edge()) == (solved, best, edge)
    assert search.weights[0, 0] == best
    assert edge in search.warning(extended=True) if edge else True


def test_equals_end_the_search_and_the_perfect_needs_none():
    search, solved = searched(lambda C: 0.5)
    assert (solved, search.best, search.edge()) == ([1e-4], 3e-4, "")
    search, solved = searched(lambda C: 1.0)
    assert (solved, search.best, search.edge()) == ([], 3e-4, "")
    search, solved = searched(lambda C: 0.5, grid=(0.01,))
    assert (solved, search.edge()) == ([], "")


@given(st.lists(st.floats(1e-12, 1e6), min_size=2, max_size=6, unique=True), st.floats(1e-14, 1e8))
def test_any_grid_stays_within_what_settings_allow(values, at):
    search, solved = searched(lambda C: peak(at)(C), grid=sorted(values))
    assert len(solved) <= STEPS
    assert all(1e-12 <= C <= 1e6 for C in search.precision)
    assert search.precision[search.best] == max(search.precision.values())


def test_inside_the_grid_nothing_changes_to_the_last_bit():
    data = material()
    plain, extended = fitted(data, extend=False), fitted(data, extend=True)
    assert plain.chosen == extended.chosen
    assert "edge" not in plain.chosen
    np.testing.assert_array_equal(
        plain.log_probabilities(data.tune_features), extended.log_probabilities(data.tune_features)
    )


def test_what_the_grid_gave_is_the_same_beside_what_lies_beyond():
    data = material(apart=0.2, train=120, dimensions=60, seed=1)
    grid = (0.1, 1.0, 10.0)
    plain, extended = fitted(data, C=grid, extend=False), fitted(data, C=grid)
    assert plain.chosen["edge"] == "smallest"
    more = extended.chosen["tune_precision"]
    assert list(map(float, more)) == sorted(map(float, more))
    assert {C: more[C] for C in plain.chosen["tune_precision"]} == plain.chosen["tune_precision"]
    assert more[repr(extended.chosen["C"])] > plain.chosen["tune_precision"]["0.1"]
    assert extended.chosen["C"] < 0.1
    # what lies beyond is the problem's own solution, not one that depends on the way to it
    alone = fitted(data, C=extended.chosen["C"])
    np.testing.assert_array_equal(alone.coef, extended.coef)


def test_a_choice_at_the_edge_is_said_in_one_line(capsys):
    data = material(apart=0.2, train=120, dimensions=60)
    fitted(data, C=(0.1, 1.0, 10.0), extend=False)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the linear SVM chose C=0.1, the smallest that was tried")
    assert "svm.extend=true" in line
    fitted(data, C=0.1)
    assert capsys.readouterr().err == ""


def test_the_setting_changes_no_record_of_a_run_without_it():
    assert "extend" not in as_record(SVMSettings(extend=False))
    assert as_record(SVMSettings())["extend"] is True
    plain, off, on = (read_study("default", [(["svm", "extend"], value)] if given else []) for given, value in OPTIONS)
    assert plain.results_hash() == off.results_hash() != on.results_hash()
    assert plain.record() == off.record() != on.record()


OPTIONS = ((False, None), (True, False), (True, True))


def test_far_beyond_the_grid_the_temperature_is_still_the_best(monkeypatch):
    monkeypatch.setattr(module, "TEMPERATURES", (0.01, 1.0))
    data = material(apart=0.2, train=120, dimensions=60, seed=2)
    svm = fitted(data, C=(0.1, 1.0, 10.0), extend=True)
    assert svm.chosen["C"] < 0.001
    for factor in (0.9, 1.1):
        assert likelihood(svm, data, factor * svm.temperature) < likelihood(svm, data, svm.temperature)


def test_an_extended_choice_is_kept_with_the_model(tmp_path):
    data = material(apart=0.2, train=120, dimensions=60, seed=1)
    svm = LinearSVM(SVMSettings(C=(1.0, 10.0), extend=True))
    svm.fit(data, seed=0, console=Console(quiet=True))
    svm.save(tmp_path)
    again = LinearSVM.load(tmp_path)
    assert (again.chosen, again.settings) == (svm.chosen, svm.settings)
