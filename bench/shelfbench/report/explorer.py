"""The page's slider: for every required precision, how much each backend accepts, and how often it is wrong.

Everything is counted here, so that the page only looks numbers up and cannot differ from the tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup

from shelfbench.report.data import RunData
from shelfbench.report.render import fill
from shelfbench.report.section import Section
from shelfbench.report.thin import thin_staircase
from shelfbench.runs.directory import Run
from shelfbench.runs.reading import Evaluated
from shelfbench.verdict.certify import certified_thresholds, coverage_grid, start_of
from shelfbench.verdict.metrics import REQUIRED, AcceptanceCurve, accept_on_curve, acceptance_curve
from shelfbench.verdict.walk import TUNED

# In thousandths, so that each is exactly the fraction that is written.
TARGETS = tuple(range(500, 1000, 5))
DEPARTMENTS = 12
_CURVE = (1200.0, 400.0)  # pixels of the page for a precision of 1 and for all products

MODES = ("plain", "tuned", "certified")


@dataclass(frozen=True, eq=False)
class Cuts:
    """How many test products one backend accepts at every required precision, and how many of them are wrong.

    Attributes
    ----------
    accepted, errors : ndarray of int64, shape (targets, 1 + departments)
        Over all products, then by department.
    """

    accepted: np.ndarray
    errors: np.ndarray


def largest_departments(products: Evaluated, run: Run) -> tuple[list[str], np.ndarray]:
    """Find the departments: the first level of the taxonomy, or the categories if there is none.

    Parameters
    ----------
    products : Evaluated
    run : Run

    Returns
    -------
    names : list of str
        Largest on test first; at most `DEPARTMENTS`, the last of them for all others.
    code : ndarray of int64, shape (n,)
        Department of every product.
    """
    names, of_key = np.unique([run.department(key) for key in products.keys], return_inverse=True)
    code = of_key[products.truth]
    sizes = np.bincount(code[products.split == "test"], minlength=len(names))
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    kept = [str(names[number]) for number in order]
    if len(kept) > DEPARTMENTS:
        kept = [*kept[: DEPARTMENTS - 1], f"{len(kept) - DEPARTMENTS + 1} others"]
    return kept, np.minimum(place[code], len(kept) - 1)


def count_cuts(test: Evaluated, code: np.ndarray, number: int, thresholds: np.ndarray) -> Cuts:
    """Count accepted products and errors at thresholds, over all products and by department.

    Parameters
    ----------
    test : Evaluated
    code : ndarray of int64, shape (n,)
        Department of every product of `test`.
    number : int
        Departments.
    thresholds : ndarray of float64, shape (targets,)
        Accept where confidence >= threshold; +inf accepts nothing.

    Returns
    -------
    Cuts
    """
    accepted = np.zeros((len(thresholds), 1 + number), np.int64)
    errors = np.zeros_like(accepted)
    for part in range(number):
        rows = code == part
        confidence = test.confidence[rows]
        order = np.argsort(confidence, kind="stable")
        first = np.searchsorted(confidence[order], thresholds, side="left")
        wrong = np.append(0, np.cumsum(~test.correct[rows][order]))
        accepted[:, 1 + part] = len(order) - first
        errors[:, 1 + part] = wrong[-1] - wrong[first]
    accepted[:, 0], errors[:, 0] = accepted[:, 1:].sum(axis=1), errors[:, 1:].sum(axis=1)
    return Cuts(accepted, errors)


def thresholds_of(products: Evaluated, level: float = 0.95, walk: str = TUNED) -> dict[str, np.ndarray]:
    """Find the threshold of every mode at every target.

    Parameters
    ----------
    products : Evaluated
    level : float
        Probability with which a certified threshold keeps its precision.
    walk : str
        Of `shelfbench.verdict.walk.WALKS`.

    Returns
    -------
    dict of str to ndarray of float64, shape (targets,)
        By mode; +inf if nothing reaches the target.
    """
    test, tune, certify = (products.where(products.role == role) for role in ("test", "tune", "certify"))
    wanted = [Fraction(target, 1000) for target in TARGETS]

    def cut(part: Evaluated) -> np.ndarray:
        if not len(part.truth):
            return np.full(len(wanted), np.inf)
        curve = acceptance_curve(part.confidence, part.correct)
        return np.array([accept_on_curve(curve, target).threshold for target in wanted])

    certified = np.full(len(wanted), np.inf)
    if len(tune.truth) and len(certify.truth):
        grid = coverage_grid(tune.confidence)
        start = start_of(walk, tune.confidence, tune.correct, grid)
        certified = certified_thresholds(certify.confidence, certify.correct, grid, wanted, level, start=start)
    return {"plain": cut(test), "tuned": cut(tune), "certified": certified}


def explorer(data: RunData) -> Section | None:
    """A slider for the required precision; None without test products."""
    found = explorer_data(data.run)
    if found is None:
        return None
    chosen = data.choice.backend if data.choice else None
    return Section(title="Choose the precision you need", html=explorer_html(found, chosen))


def explorer_data(run: Run) -> dict[str, Any] | None:
    """All that the page's script needs, as JSON.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict or None
        None if there are no test products. Without levels of categories there are no departments.
    """
    level, levels = run.confidence_level, bool(run.record.dataset.category_level1)
    entries: list[dict[str, Any]] = []
    total, sizes, parts = 0, [0], [""]
    for backend in run.backends:
        products = run.products(backend)
        kept, code = largest_departments(products, run) if levels else ([""], np.zeros(len(products.truth), np.int64))
        chosen = products.split == "test"
        test = products.where(chosen)
        if not len(test.truth):
            return None
        thresholds = thresholds_of(products, level, run.record.settings.verdict.walk)
        cuts = {mode: count_cuts(test, code[chosen], len(kept), thresholds[mode]) for mode in MODES}
        total, parts = len(test.truth), kept
        sizes = np.bincount(code[chosen], minlength=len(kept)).tolist()
        entries.append(
            {
                "name": backend,
                "curve": _corners(acceptance_curve(test.confidence, test.correct)),
                "modes": {
                    mode: {"accepted": cut.accepted.tolist(), "errors": cut.errors.tolist()}
                    for mode, cut in cuts.items()
                },
            }
        )
    return {
        "targets": list(TARGETS),
        "total": total,
        "departments": parts if levels else [],
        "sizes": sizes,
        "modes": {
            "plain": "Plain: set on the test products themselves" + (", as the paper does" if run.papers else ""),
            "tuned": "Tuned: fixed on the tune half of validation, then applied to test",
            "certified": f"Certified: keeps the precision with a probability of {100 * level:.9g}%, for one backend "
            "and one precision chosen beforehand",
        },
        "backends": entries,
    }


def first_mode(data: dict[str, Any]) -> str:
    """Choose which threshold the page opens with: the certified one, if any backend has one at 90%.

    Parameters
    ----------
    data : dict
        From `explorer_data`.

    Returns
    -------
    str
        One of `MODES`.
    """
    place = data["targets"].index(round(1000 * float(REQUIRED)))
    promised = any(entry["modes"]["certified"]["accepted"][place][0] for entry in data["backends"])
    return "certified" if promised else "plain"


def _corners(curve: AcceptanceCurve) -> list[list[float]]:
    corners = thin_staircase(*curve.frontier(), _CURVE, float(REQUIRED))
    return [[round(float(x), 4), round(float(y), 4)] for x, y in zip(*corners, strict=True)]


def _in_steps(modes: dict[str, Any]) -> dict[str, Any]:
    """Counts as differences from the target before, which take half the room; the page's script adds them up."""
    return {
        mode: {name: np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1])).tolist() for name, rows in counts.items()}
        for mode, counts in modes.items()
    }


def explorer_html(data: dict[str, Any], chosen: str | None = None) -> Markup:
    """Render the interactive part of the page: a slider, the curves, a table and bars, with script and data.

    Parameters
    ----------
    data : dict
        From `explorer_data`.
    chosen : str or None
        The backend that is drawn stronger, and whose departments are shown first; without it, those of the first.

    Returns
    -------
    Markup
    """
    names = [entry["name"] for entry in data["backends"]]
    data = {
        **data,
        "chosen": names.index(chosen) if chosen in names else None,
        "mode": first_mode(data),
        "backends": [{**entry, "modes": _in_steps(entry["modes"])} for entry in data["backends"]],
    }
    # "<" is the only character with which data could end the surrounding element
    inside = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    script = (files("shelfbench.report") / "explorer.js").read_text(encoding="utf-8")
    return fill("explorer", data=data, json=Markup(inside), script=Markup(script))
