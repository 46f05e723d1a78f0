"""What ``shelfbench watch`` says: how the promise stands, and how the flow compares with what certified it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.grid import number_of
from shelfbench.base.screen import printable, screen_width
from shelfbench.base.text_table import TextTable
from shelfbench.decision.record import DecisionRecord
from shelfbench.decision.watching_state import State, Week
from shelfbench.verdict.monitor import Status

if TYPE_CHECKING:
    import pandas as pd

CERTIFY = "certify"
_SHOWN = 8  # weeks
_MOVED = 3  # categories
# A difference from certify that chance explains less often than this is told.
_RARE = 0.001
_EXPECTED = 5  # products in a category, below which it is put together with others for the test of the mix
_NONE = "–"
_NEXT = {
    Status.BROKEN: "send all products to a person, label some of today's, run the study with them and decide anew; "
    "this decision stays BROKEN, since the promise was made for all of its flow",
    Status.WARNING: "label more of the accepted products, drawn at random",
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Watched:
    """How the promise of a decision stands.

    Attributes
    ----------
    record : DecisionRecord
        The decision.
    state : State
        All that was watched so far.
    labels : int
        Labelled products of the newest table that were counted.
    right : int
        How many of them are right.
    newest : str
        The newest week of that table; empty if nothing in it was new.
    notes : tuple of str
        What to know about that table.
    """

    record: DecisionRecord
    state: State
    labels: int
    right: int
    newest: str
    notes: tuple[str, ...]

    @property
    def status(self) -> Status:
        """OK, WARNING or BROKEN."""
        return self.state.monitor.status

    @property
    def evidence(self) -> float:
        """What a stake of 1 against the promise has become; 20 breaks it, or more at a confidence above 95%."""
        return self.state.monitor.evidence

    @property
    def precision(self) -> float | None:
        """Share of all labelled products so far that are right; None without any."""
        bet = self.state.monitor
        return bet.right / bet.labels if bet.labels else None

    @property
    def interval(self) -> tuple[float, float]:
        """Confidence sequence of the precision so far, which holds at all looks together."""
        return self.state.monitor.interval()

    @property
    def table(self) -> pd.DataFrame:
        """The flow by week, after what `certify` saw: a pandas frame, with the name of the week as its index."""
        import pandas as pd

        weeks = {CERTIFY: _certified(self.record), **{name: self.state.weeks[name] for name in _sorted(self.state)}}
        rows = [
            {
                "week": name,
                "products": week.products,
                "accepted": week.accepted,
                "acceptance": _acceptance(week),
                "labelled": week.labelled,
                "right": week.right,
                "precision": week.right / week.labelled if week.labelled else math.nan,
                "strangers": week.strangers,
            }
            for name, week in weeks.items()
            if week is not None
        ]
        return pd.DataFrame(rows).set_index("week")

    def __repr__(self) -> str:
        """Return the status and the counts in one line."""
        bet = self.state.monitor
        return f"<Watched {self.status}: {bet.right} of {bet.labels} right, evidence {bet.evidence:.3g}>"

    def __str__(self) -> str:
        """Return what the command prints."""
        lines = [f"{self.status}: {self._told()}"]
        bet = self.state.monitor
        if bet.labels:
            low, high = bet.interval()
            lines.append(
                f"  {bet.right:,} of {bet.labels:,} labelled products so far are right: {bet.right / bet.labels:.3f} "
                f"[{low:.3f}, {high:.3f}] (holds at all looks together with probability {bet.level:.9g})"
            )
        lines.append(
            f"  new in this table: {number_of(self.labels, 'label')} of accepted products, {self.right:,} of them right"
        )
        lines += [f"  {note}" for note in self.notes]
        if self.status in _NEXT:
            lines.append(f"  what to do next: {_NEXT[self.status]}")
        lines.append("  the flow, for information (it does not change the verdict):")
        lines += [f"    {line}" for line in self._weeks()]
        lines += [f"  {line}" for line in self._differences()]
        return "\n".join(lines)

    def _told(self) -> str:
        bet = self.state.monitor
        target = f"{bet.target:.9g}"
        if bet.broken_at is not None:
            return (
                f"fewer than {target} of the accepted products are right, with a confidence of {bet.level:.9g} (after "
                f"{number_of(bet.broken_at, 'label')}, found on {self.state.broken_on[:10]})"
            )
        if not bet.labels:
            return "no accepted product has a label yet, so that nothing can be told"
        odds = f"evidence {bet.evidence:.2g} to 1; {bet.warns:.3g} warns, {bet.enough:.3g} breaks the promise"
        if self.status == Status.WARNING:
            return f"some evidence that fewer than {target} of the accepted products are right ({odds})"
        return f"nothing says that fewer than {target} of the accepted products are right ({odds})"

    def _weeks(self) -> list[str]:
        names = _sorted(self.state)[-_SHOWN:]
        weeks = [(CERTIFY, _certified(self.record)), *((name, self.state.weeks[name]) for name in names)]
        head = ("Week", "Products", "Accepted", "Acceptance", "Labelled", "Precision", "Strangers")
        rows = [
            (
                name,
                f"{week.products:,}",
                f"{week.accepted:,}",
                _share(_acceptance(week)),
                f"{week.labelled:,}",
                _share(week.right / week.labelled if week.labelled else math.nan),
                f"{week.strangers:,}",
            )
            for name, week in weeks
            if week is not None
        ]
        width = screen_width()
        return TextTable([head, *rows], right=frozenset(range(1, 7))).lines(None if width is None else width - 4)

    def _differences(self) -> list[str]:
        """Say in what the newest week differs from certify by more than chance."""
        seen, week = _certified(self.record), self.state.weeks.get(self.newest)
        if seen is None or week is None:
            return []
        said = []
        if not math.isnan(_acceptance(week)):
            p = _two_shares(week.accepted, week.products, seen.accepted, seen.products)
            if p < _RARE:
                said.append(
                    f"acceptance in {self.newest} is {_acceptance(week):.3f}, and was {_acceptance(seen):.3f} when the "
                    "threshold was certified, which is more than chance"
                )
        elif week.products:
            said.append("acceptance is not known, since the table has no product that went to review")
        if week.strangers:
            rare = _two_shares(week.strangers, week.products, seen.strangers, seen.products) < _RARE
            said.append(
                f"{week.strangers / week.products:.1%} of the products of {self.newest} are unlike those learned, and "
                f"{seen.strangers / seen.products:.1%} of certify's{', which is more than chance' if rare else ''}"
            )
        if not seen.mix:
            said.append("the decision does not hold the mix of categories that certified it; decide anew to compare it")
        elif week.accepted:
            said += self._moved(seen, week)
        return said

    def _moved(self, seen: Week, week: Week) -> list[str]:
        count = len(self.record.categories)
        before, now = (np.array([part.mix.get(code, 0) for code in range(count)]) for part in (seen, week))
        if _two_mixes(before, now) >= _RARE:
            return [f"the accepted products of {self.newest} are mixed as those of certify, as far as can be told"]
        shares = now / now.sum() - before / before.sum()
        told = [
            f"{printable(self.record.categories[code].key)} {before[code] / before.sum():.3f} → "
            f"{now[code] / now.sum():.3f}"
            for code in np.argsort(-np.abs(shares), kind="stable")[:_MOVED]
        ]
        return [
            f"the accepted products of {self.newest} are mixed otherwise than those of certify (by "
            f"{np.abs(shares).sum() / 2:.1%}, more than chance): {', '.join(told)}"
        ]


def _sorted(state: State) -> list[str]:
    """Sort weeks by time, and tables by number."""
    return sorted(state.weeks, key=lambda name: (len(name), name))


def _certified(record: DecisionRecord) -> Week | None:
    """Return what certify saw, as a week."""
    found = next((part for part in record.evidence if part.role == CERTIFY), None)
    if found is None:
        return None
    mix = dict(enumerate(record.certified_mix or ()))
    return Week(products=found.products, accepted=found.accepted, labelled=found.accepted, right=found.correct, mix=mix)


def _acceptance(week: Week) -> float:
    """Share of products that were accepted; not known where only accepted ones were given."""
    return week.accepted / week.products if week.accepted < week.products else math.nan


def _share(value: float) -> str:
    return _NONE if math.isnan(value) else f"{value:.3f}"


def _two_shares(hits: int, total: int, others: int, of: int) -> float:
    """Return the p-value for two shares being equal, by the normal approximation."""
    if not total or not of:
        return 1.0
    pooled = (hits + others) / (total + of)
    error = math.sqrt(pooled * (1 - pooled) * (1 / total + 1 / of))
    return math.erfc(abs(hits / total - others / of) / error / math.sqrt(2)) if error else 1.0


def _two_mixes(before: np.ndarray, now: np.ndarray) -> float:
    """Return the p-value for two mixes being equal, by the chi-squared test; rare categories are put together."""
    from scipy.special import chdtrc

    both = before + now
    smaller = min(before.sum(), now.sum()) / both.sum()
    rare = both * smaller < _EXPECTED
    table = np.stack([np.append(part[~rare], part[rare].sum()) for part in (before, now)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not smaller:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(chdtrc(table.shape[1] - 1, ((table - expected) ** 2 / expected).sum()))
