"""One joint test of several backends or measures, named beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.public_arguments import path_argument
from shelfbench.decision.deciding import decide
from shelfbench.decision.decision import Decision
from shelfbench.decision.rule import Verdict
from shelfbench.runs.directory import Run, open_run

_ORDER = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)


@dataclass(frozen=True, repr=False, eq=False)
class Family:
    """Decisions whose promises are kept together.

    Attributes
    ----------
    decisions : tuple of Decision
        One for every backend and measure, in the order in which they were named.
    """

    decisions: tuple[Decision, ...]

    @property
    def best(self) -> Decision:
        """The decision that passes and accepts the most of `certify`; if none passes, one that may still do."""
        return min(self.decisions, key=lambda one: (_ORDER.index(one.verdict), -_accepted(one)))

    def __str__(self) -> str:
        """Return one line for each decision, and the best of them in full."""
        lines = [f"  {one.verdict}: {one.backend} by {one.ruling.measure}{_share(one)}" for one in self.decisions]
        return "\n".join([f"one joint test of {len(lines)}:", *lines, "the best of them:", str(self.best)])


def _accepted(decision: Decision) -> float:
    return next((part.acceptance for part in decision.ruling.evidence if part.role == "certify"), 0.0)


def _share(decision: Decision) -> str:
    return f", accepts {_accepted(decision):.1%} of certify" if decision.ruling.passed else ""


def decide_family(
    run: Run | Path | str, backends: Sequence[str], measures: Sequence[str] = ("probability",), **asked: Any
) -> Family:
    """Test several backends, by several measures of confidence, on the same products: all promises hold together.

    Each is tested at an equal part of what one test may miss (Bonferroni), so that the best may be picked.

    Parameters
    ----------
    run : Run, Path or str
    backends : sequence of str
    measures : sequence of str
        Every backend is tested by every measure.
    **asked
        As for `shelfbench.decide`.

    Returns
    -------
    Family

    Raises
    ------
    InputError
        As `shelfbench.decide`; or if a backend or a measure is named twice, or none is.
    """
    if isinstance(run, (str, Path)):
        run = open_run(path_argument(run, "run"))
    if unknown := [name for name in backends if name not in run.backends]:
        raise InputError(f"{run.path} has no predictions of {unknown[0]!r}", f"choose from: {', '.join(run.backends)}")
    for names, what in ((backends, "backend"), (measures, "measure")):
        if not names or len(set(names)) < len(names):
            raise InputError(f"no {what}, or one of them twice: {', '.join(names)}", f"name each {what} once")
    pairs = [(backend, measure) for backend in backends for measure in measures]
    return Family(tuple(decide(run, backend, measure=measure, joint=pairs, **asked) for backend, measure in pairs))
