"""What the page's slider shows: for every required precision, what each backend takes, and how often it errs.

Everything is counted here, so that the page only looks numbers up and cannot differ from the tables.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import Any

import numpy as np

from shelfbench.runs.directory import Run, labels, read_predictions
from shelfbench.runs.reading import Evaluated
from shelfbench.verdict.certify import certified_thresholds, coverage_grid
from shelfbench.verdict.metrics import AcceptanceCurve, accept_on_curve, acceptance_curve

# In thousandths, so that each is the fraction it is written as.
TARGETS = tuple(range(500, 1000, 5))
DEPARTMENTS = 12
_CORNERS = 240  # of a curve: more than its pixels show

MODES = ("plain", "tuned", "certified")


@dataclass(frozen=True, eq=False)
class Cuts:
    """What one backend takes of the test products at every required precision.

    Attributes
    ----------
    accepted, errors : ndarray of int64, shape (targets, 1 + departments)
        In all, then by department.
    """

    accepted: np.ndarray
    errors: np.ndarray


def departments(products: Evaluated, run: Run) -> tuple[list[str], np.ndarray]:
    """Departments (the first level of the taxonomy; categories where there is none), the largest apart.

    Returns
    -------
    names : list of str
        Largest on test first; at most `DEPARTMENTS`, of which the last holds all others.
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
    """Count accepted products and errors at thresholds, in all and by department.

    Parameters
    ----------
    test : Evaluated
    code : ndarray of int64, shape (n,)
        Department of every product of `test`.
    number : int
        Departments.
    thresholds : ndarray of float64, shape (targets,)
        Accept where confidence >= threshold; +inf accepts nothing.
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


def thresholds_of(products: Evaluated, level: float = 0.95) -> dict[str, np.ndarray]:
    """Threshold of every mode at every target; +inf where nothing reaches it.

    Parameters
    ----------
    products : Evaluated
    level : float
        Probability with which a certified threshold keeps its precision.
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
        certified = certified_thresholds(certify.confidence, certify.correct, grid, wanted, level)
    return {"plain": cut(test), "tuned": cut(tune), "certified": certified}


def explorer_data(run: Run) -> dict[str, Any] | None:
    """All that the page's script needs, as JSON; None where there are no test products."""
    names = labels(run, run.backends)
    level = float(run.record.get("study", {}).get("verdict", {}).get("confidence_level", 0.95))
    entries: list[dict[str, Any]] = []
    total, sizes, parts = 0, [0], [""]
    for backend in run.backends:
        products = read_predictions(run, backend)
        kept, code = departments(products, run)
        chosen = products.split == "test"
        test = products.where(chosen)
        if not len(test.truth):
            return None
        thresholds = thresholds_of(products, level)
        cuts = {mode: count_cuts(test, code[chosen], len(kept), thresholds[mode]) for mode in MODES}
        total, parts = len(test.truth), kept
        sizes = np.bincount(code[chosen], minlength=len(kept)).tolist()
        entries.append(
            {
                "name": backend,
                "label": names[backend].short,
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
        "departments": parts,
        "sizes": sizes,
        "modes": {
            "plain": "Plain: set on the test products themselves, as the paper does",
            "tuned": "Fixed on tune, read on test",
            "certified": f"Certified: keeps the precision with a probability of {100 * level:.9g}%",
        },
        "backends": entries,
    }


def _corners(curve: AcceptanceCurve) -> list[list[float]]:
    return [[round(float(x), 5), round(float(y), 5)] for x, y in zip(*curve.frontier(_CORNERS), strict=True)]


def explorer_html(data: dict[str, Any], chosen: str | None = None) -> str:
    """The part of the page that moves: a slider, the curves, a table and bars; its script and its data.

    It opens on the departments of the backend `chosen`.
    """
    names = [entry["name"] for entry in data["backends"]]
    data = {**data, "chosen": names.index(chosen) if chosen in names else 0}
    # "<" is the only character with which data could end the element it stands in
    inside = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    script = (files("shelfbench.report") / "explorer.js").read_text(encoding="utf-8")
    modes = "".join(
        f'<label><input type="radio" name="mode" value="{mode}"{" checked" if mode == "plain" else ""}> '
        f"{html.escape(meaning)}</label>"
        for mode, meaning in data["modes"].items()
    )
    first, last, step = data["targets"][0], data["targets"][-1], data["targets"][1] - data["targets"][0]
    return f"""<section id="explorer" aria-labelledby="explorer-title">
<h2 id="explorer-title">Choose the precision that you need</h2>
<noscript><p class="warn">Moving this needs JavaScript; the figure and tables below show the same at 90%.</p></noscript>
<div class="control">
<label for="target">Required precision <output id="target-value" for="target">90.0%</output></label>
<input type="range" id="target" min="{first}" max="{last}" step="{step}" value="900"></div>
<fieldset class="modes"><legend>Which threshold</legend>{modes}</fieldset>
<div class="explorer">
<figure class="chart"><svg id="curves" viewBox="0 0 640 420" role="img" aria-labelledby="curves-title">
<title id="curves-title">Acceptance against required precision on test, one line a backend</title></svg></figure>
<div class="scroll"><table id="taken" aria-live="polite"><caption>Of {data["total"]:,} test products</caption>
<thead><tr><th>Backend</th><th class="n">Accepted</th><th class="n">Errors</th><th class="n">Precision</th>
<th class="n">For a person</th></tr></thead><tbody></tbody></table></div>
</div>
<div class="control"><label for="shown">Departments of</label> <select id="shown"></select></div>
<div id="bars"></div>
<script type="application/json" id="explorer-data">{inside}</script>
<script>
{script}</script>
</section>"""
