"""The first paper's week: what training a backend takes must be done within it (C14)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shelfbench.base.grid import span
from shelfbench.cost.estimate import Estimate

# C, §4.1 and §6; `shelfbench.report.measured.week` reads the same number from the list of claims.
WEEK = 7 * 86400.0
_NAMES = {
    "tune": "training the network",
    "extract": "decoding and features",
    "fit": "fitting the classifier",
}


def verdict(estimates: Sequence[Estimate], images: int, machines: int) -> str:
    """Say whether training meets the paper's week, and which stage is to blame where it does not.

    Features count as the paper's do, once per backend, also where an earlier backend of the study has made them.

    Parameters
    ----------
    estimates : sequence of Estimate
        Of backends; those on some machines.
    images : int
    machines : int

    Returns
    -------
    str
        A sentence or two; empty if nothing is trained.
    """
    own = {found.name: found for found in estimates}
    late, known = [], 0
    for found in estimates:
        maker = own.get(found.shared, found)
        parts = {"tune": maker.tune, "extract": maker.extract, "fit": found.fit}
        seconds = sum(parts.values())
        if math.isnan(seconds):
            continue
        known += 1
        if seconds > WEEK:
            worst = max(parts, key=lambda part: parts[part])
            blamed = f"{span(parts[worst])} of it {_NAMES[worst]}{_help(found, maker)}"
            late.append(f"{found.name} would take {span(seconds)}, {blamed}")
    if not known:
        return ""
    place = "on this machine" if machines == 1 else f"on {machines:,} machines"
    begun = f"The paper's week (C14) at {images:,} images {place}"
    if not late:
        return f"{begun}: met by every backend whose time is known."
    rest = known - len(late)
    ending = f" The {'other' if rest == 1 else f'other {rest}'} {'meets' if rest == 1 else 'meet'} it." if rest else ""
    return f"{begun} is not met: {'; '.join(late)}.{ending}"


def _help(found: Estimate, maker: Estimate) -> str:
    """Say how many machines would help, if any number does."""
    fixed = maker.tune + maker.once + (0.0 if found.divides else found.fit)
    shared = (maker.extract - maker.once) * maker.machines + (found.fit * found.machines if found.divides else 0.0)
    if fixed >= WEEK:
        return ", which no number of machines shortens"
    needed = math.ceil(shared / (WEEK - fixed))
    return f" ({needed:,} machines would do)" if needed > found.machines else ""
