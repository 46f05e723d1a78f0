"""Words of a decision: thresholds as probabilities, and what a ladder answers."""

from __future__ import annotations

from shelfbench.base.grid import probability
from shelfbench.decision.ladder import LadderRuling
from shelfbench.runs.levels import CATEGORY


def told(ruling: LadderRuling) -> list[str]:
    """Say from which confidence on each rung answers, and what it reaches on test.

    Parameters
    ----------
    ruling : LadderRuling

    Returns
    -------
    list of str
        A line for each.
    """
    lines = []
    for rung in ruling.rungs if ruling.passed else ():
        if rung.threshold is None:
            lines.append(f"{rung.level}: not used")
            continue
        if rung.level != CATEGORY or ruling.measure == "probability":
            least = f"a confidence of at least {probability(rung.threshold)}"
        else:
            least = f"a {ruling.measure} of at least {rung.threshold:.4f}"
        lines.append(f"{rung.level}: answers from {least} on")
        lines += [f"  {part} (for reference only)" for part in rung.evidence if part.role == "test"]
        if mix := rung.mix:
            lines.append(
                f"  at the catalogue's own mix of categories: precision {mix.precision:.3f} "
                f"[{mix.precision_low:.3f}, {mix.precision_high:.3f}], acceptance {mix.acceptance:.3f} "
                f"[{mix.acceptance_low:.3f}, {mix.acceptance_high:.3f}] (for reference only)"
            )
    if ruling.passed:
        none = ": nothing, in this decision" if ruling.threshold is None else ""
        lines.append(f"shelfbench watch can later watch what is answered at the category alone{none}")
    return lines
