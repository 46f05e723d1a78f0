"""Which classifier should categorise a shop's products, how many can it take without a person, and at what cost?

Everything that the command ``shelfbench`` does can be done from Python with the same names::

    import shelfbench

    run = shelfbench.run("fashion", backends=["hog-svm", "bottleneck-svm"], out="results/mine")
    run.table4, run.curve("hog-svm")                             # pandas frames
    decision = shelfbench.decide(run, "bottleneck-svm")
    decision.verdict, decision.threshold                         # Verdict.PASS, FAIL or INCONCLUSIVE
    decision.save("decision")
    shelfbench.load_decision("decision").classify("photos/")     # a pandas frame

Importing the package loads nothing heavy: each name is loaded when it is first used. Errors are `InputError` (a wrong
file, setting or name) or `RunError` (a run that failed on good input); both derive from `ShelfbenchError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from shelfbench.base.version import __version__

if TYPE_CHECKING:
    from shelfbench.base.errors import InputError, RunError, ShelfbenchError
    from shelfbench.choosing import choose
    from shelfbench.cost.plan import Plan
    from shelfbench.decision.deciding import decide
    from shelfbench.decision.decision import Decision, load_decision
    from shelfbench.decision.family import decide_family
    from shelfbench.decision.rule import Verdict
    from shelfbench.decision.watching import watch
    from shelfbench.decision.watching_text import Watched
    from shelfbench.draws import run_seeds
    from shelfbench.face import classify, generate, load_run, load_study, plan, run
    from shelfbench.merging import merge
    from shelfbench.plugins.backend import BackendSpec
    from shelfbench.precomputing import features
    from shelfbench.runs.directory import Run
    from shelfbench.runs.draws import Draws
    from shelfbench.runs.quick_choice import QuickChoice
    from shelfbench.study.model import Study
    from shelfbench.verdict.costs import Prices

_HOMES = {
    "BackendSpec": "shelfbench.plugins.backend",
    "Decision": "shelfbench.decision.decision",
    "Draws": "shelfbench.runs.draws",
    "InputError": "shelfbench.base.errors",
    "Plan": "shelfbench.cost.plan",
    "Prices": "shelfbench.verdict.costs",
    "QuickChoice": "shelfbench.runs.quick_choice",
    "Run": "shelfbench.runs.directory",
    "RunError": "shelfbench.base.errors",
    "ShelfbenchError": "shelfbench.base.errors",
    "Study": "shelfbench.study.model",
    "Verdict": "shelfbench.decision.rule",
    "Watched": "shelfbench.decision.watching_text",
    "choose": "shelfbench.choosing",
    "classify": "shelfbench.face",
    "decide": "shelfbench.decision.deciding",
    "decide_family": "shelfbench.decision.family",
    "features": "shelfbench.precomputing",
    "generate": "shelfbench.face",
    "load_decision": "shelfbench.decision.decision",
    "load_run": "shelfbench.face",
    "load_study": "shelfbench.face",
    "merge": "shelfbench.merging",
    "plan": "shelfbench.face",
    "run": "shelfbench.face",
    "run_seeds": "shelfbench.draws",
    "watch": "shelfbench.decision.watching",
}

__all__ = [
    "BackendSpec",
    "Decision",
    "Draws",
    "InputError",
    "Plan",
    "Prices",
    "QuickChoice",
    "Run",
    "RunError",
    "ShelfbenchError",
    "Study",
    "Verdict",
    "Watched",
    "__version__",
    "choose",
    "classify",
    "decide",
    "decide_family",
    "features",
    "generate",
    "load_decision",
    "load_run",
    "load_study",
    "merge",
    "plan",
    "run",
    "run_seeds",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'shelfbench' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
