"""The result of a quick choice: which backend to run, how sure that is, and what it took."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, count, duration, percent, share
from shelfbench.base.screen import CODE
from shelfbench.study.overrides import parse_setting
from shelfbench.verdict.halving import Round, Standing, before_last, best, expected, ties

if TYPE_CHECKING:
    import pandas as pd

_SHORT = 600.0  # seconds that one waits for without a second thought
_WRITE = "write for example --budget 15% of the full study's time, or --budget 10m for ten minutes"


@dataclass(frozen=True)
class Budget:
    """What a quick choice may take.

    Attributes
    ----------
    share : float or None
        Of the estimated time of the full study.
    seconds : float or None
    """

    share: float | None = None
    seconds: float | None = None

    @classmethod
    def read(cls, text: str) -> Budget:
        """Read ``15%`` or ``10m``.

        Parameters
        ----------
        text : str

        Returns
        -------
        Budget

        Raises
        ------
        InputError
            If it is neither, or as much as the study itself.
        """
        found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(%|m|min|minutes?)\s*", str(text))
        if found is None:
            raise InputError(f"the budget is {str(text)[:20]!r}", _WRITE)
        value = float(found[1])
        if value <= 0:
            raise InputError(f"the budget is {str(text)[:20]!r}: nothing can be tried with it", _WRITE)
        if found[2] != "%":
            return cls(seconds=60 * value)
        if value >= 100:
            raise InputError(
                f"the budget is {str(text)[:20]!r}, no less than the study itself takes", "run it: shelfbench run"
            )
        return cls(share=value / 100)

    def allowed(self, full: float) -> float:
        """Seconds that may be spent, if the full study takes `full`."""
        return self.seconds if self.seconds is not None else (self.share or 0.0) * full

    def __str__(self) -> str:
        """Return it in words."""
        if self.share is None:
            return duration(self.seconds or 0.0)
        return f"{100 * self.share:.9g}% of the full study's time"


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedRound:
    """One round of a quick choice.

    Attributes
    ----------
    standing : Round
    images : int
        Photos of the part of train.
    seconds : float
        What the round took, features at what they took when they were computed.
    fits : dict of str to float
        Seconds of fitting and judging each candidate.
    """

    standing: Round
    images: int
    seconds: float
    fits: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuickChoice:
    """Which backend a small part of a study's time points to; ``print(choice)`` says it.

    Attributes
    ----------
    study : str
        Its name.
    data : str
        Name of the catalogue.
    rounds : tuple of TimedRound
        From the smallest part to the largest.
    dropped : dict of str to str
        Why a candidate did not go on to the next part, in words.
    products, judges : int
        Products of train, and those of `tune` that judged.
    seconds : float
        What the choice took, starting included.
    full_seconds : float
        What all candidates are estimated to take on all photos: features, fitting, scores, starting included.
    start_seconds : float
        What starting took (libraries, networks), in `seconds` as in `full_seconds`.
    budget : Budget
    command : str
        The command that runs the winner on everything.
    failed : dict of str to str
        Candidates that failed, and why.
    """

    study: str
    data: str
    rounds: tuple[TimedRound, ...]
    dropped: Mapping[str, str]
    products: int
    judges: int
    seconds: float
    full_seconds: float
    start_seconds: float
    budget: Budget
    command: str
    failed: Mapping[str, str]

    @property
    def last(self) -> Round:
        """The candidates on the largest part."""
        return self.rounds[-1].standing

    @property
    def winner(self) -> str:
        """The name of the backend to run."""
        return best(self._rounds, self.products)

    @property
    def expected(self) -> dict[str, float]:
        """Average (see `Standing`) that the last candidates are expected to reach at least, with all of train."""
        return expected(self.last, before_last(self._rounds), self.products)

    @property
    def _rounds(self) -> list[Round]:
        return [timed.standing for timed in self.rounds]

    @property
    def ties(self) -> tuple[str, ...]:
        """Names of those that may be as good."""
        return tuple(found.name for found, _ in self._ties())

    @property
    def share(self) -> float:
        """Share of the full study's estimated time that the choice took."""
        return self.seconds / self.full_seconds

    @property
    def within_budget(self) -> bool:
        """Whether it took no more than it was allowed."""
        return self.seconds <= self.budget.allowed(self.full_seconds)

    @property
    def table(self) -> pd.DataFrame:
        """One row per round and candidate."""
        import pandas as pd

        rows = [
            {"products": timed.standing.products, "images": timed.images, **asdict(found)}
            | {"seconds": timed.fits[found.name], "outcome": self.outcome(found, timed)}
            for timed in self.rounds
            for found in timed.standing.standings
        ]
        return pd.DataFrame(rows)

    def _ties(self) -> tuple[tuple[Standing, Round], ...]:
        return ties(self._rounds, self.products)

    def outcome(self, found: Standing, timed: TimedRound) -> str:
        """Say what became of a candidate after a round."""
        if timed is self.rounds[-1]:
            return (
                "chosen" if found.name == self.winner else ("may be as good" if found.name in self.ties else "behind")
            )
        following = self.rounds[[*self.rounds].index(timed) + 1]
        judged = {standing.name for standing in following.standing.standings}
        return "goes on" if found.name in judged else self.dropped.get(found.name, "failed")

    def grid(self) -> Grid:
        """Return the rounds as a table."""
        rows: list[tuple[str, ...]] = []
        best: set[tuple[int, int]] = set()
        for timed in self.rounds:
            for found in timed.standing.standings:
                if found.name == timed.standing.leader.name:
                    best.add((len(rows), 2))
                rows.append(
                    (
                        f"{timed.standing.products:,} ({timed.standing.products / self.products:.1%})",
                        found.name,
                        share(found.average),
                        f"{share(found.behind)} [{share(found.behind_low)}, {share(found.behind_high)}]"
                        if found.name != timed.standing.leader.name
                        else MISSING,
                        f"{share(found.precision)} [{share(found.low)}, {share(found.high)}]",
                        share(found.acceptance),
                        f"{timed.fits[found.name]:.1f}",
                        self.outcome(found, timed),
                    )
                )
        return Grid(
            title=f"{self.data}: candidates on growing parts of train, judged on {count(self.judges)} products of tune",
            headers=("Learnt from", "Backend", "Average", "Behind", "Precision", "Acc. at 0.9", "Seconds", "Outcome"),
            rows=tuple(rows),
            numeric=frozenset({0, 2, 3, 4, 5, 6}),
            best=frozenset(best),
            notes=(
                "Average: precision of the surest k products, averaged over all k; candidates are compared by it. "
                "Behind: the difference to the best, on the same products, with its 95% interval. Seconds: of fitting "
                "and judging; features come on top. "
                f"The first part was judged on {count(self.rounds[0].standing.judges)} products. Nothing was judged on "
                "certify or test.",
            ),
        )

    def sentences(self) -> tuple[str, ...]:
        """Say what was found, the main thing first."""
        found = self._ties()
        [first] = [standing for standing in self.last.standings if standing.name == self.winner]
        size = f"{count(self.last.products)} of {count(self.products)} training products"
        right = f"{percent(first.precision)} [{percent(first.low)}, {percent(first.high)}]"
        verdict = f"{first.name} {'is the best bet' if found else 'wins'}"
        said = [
            f"{verdict}: having learnt from {size}, it is right on {right} of {count(self.judges)} products of tune."
        ]
        said += [self._tie(*pair) for pair in found]
        if found:
            said.append(
                f"This is a tie that more data would have to settle: run {first.name}, or each of them to see it on "
                "everything."
            )
        said.append(self._cost())
        said += [f"{name} failed and was not compared: {reason}." for name, reason in self.failed.items()]
        return tuple(said)

    def _tie(self, found: Standing, judged: Round) -> str:
        if judged is self.last and (found is self.last.leader or not found.tied):
            return self._crossing(found)
        where = "" if judged is self.last else f" on {count(judged.products)} training products, its last"
        text = (
            f"{found.name} may be as good: it is behind {self._leader(judged)}by {_points(found.behind)}{where}, by "
            f"{_points(max(found.behind_high, 0.0))} at most."
        )
        wanted = found.to_settle(judged.judges)
        if wanted is None:
            return f"{text} No number of products that one could label tells such a difference."
        return f"{text} About {count(_rounded(wanted))} labelled products in tune would tell such a difference."

    def _leader(self, judged: Round) -> str:
        """Name the leader that somebody is behind, where it is not the choice."""
        return "" if judged.leader.name == self.winner else f"{judged.leader.name} "

    def _crossing(self, found: Standing) -> str:
        """Say of one that learns faster, or more slowly, than the choice what is expected of both."""
        hoped, ahead = self.expected, found is self.last.leader
        now = "is ahead on this part, but learns more slowly" if ahead else "is behind, but catches up"
        return (
            f"{found.name} {now}: with all of train, an average of {share(hoped[self.winner])} or more is expected of "
            f"{self.winner}, and of {share(hoped[found.name])} of it."
        )

    def _cost(self) -> str:
        text = (
            f"This took {duration(self.seconds)}, {self.share:.1%} of the {duration(self.full_seconds)} that all "
            f"candidates would take on everything, as estimated from these parts"
        )
        if self.within_budget:
            return f"{text}. The features stay in the cache, and a run takes them from there."
        if len(self.rounds) > 1:
            return f"{text}: more than the budget ({self.budget}), since a part took longer than predicted."
        return (
            f"{text}: more than the budget ({self.budget}). The smallest part that says anything took that by itself, "
            "so nothing surer can be had for less here; running the whole study does not take long, either."
            if self.full_seconds < _SHORT
            else f"{text}: more than the budget ({self.budget}), which the smallest part that says anything used up."
        )

    def __str__(self) -> str:
        """Return the table and the sentences, as the terminal shows them."""
        return "\n\n".join([self.grid().text(), "\n".join(self.sentences()), f"Next:\n{CODE}{self.command}"])

    def _repr_html_(self) -> str:
        """Show the rounds in a notebook."""
        return self.grid().html()

    def record(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "winner": self.winner,
            "ties": list(self.ties),
            "expected": self.expected,
            "study": self.study,
            "data": self.data,
            "products": self.products,
            "judges": self.judges,
            "budget": asdict(self.budget),
            "seconds": self.seconds,
            "full_seconds": self.full_seconds,
            "start_seconds": self.start_seconds,
            "share": self.share,
            "within_budget": self.within_budget,
            "command": self.command,
            "dropped": dict(self.dropped),
            "failed": dict(self.failed),
            "rounds": [
                {
                    "products": timed.standing.products,
                    "images": timed.images,
                    "seconds": timed.seconds,
                    "candidates": [
                        asdict(found) | {"seconds": timed.fits[found.name], "outcome": self.outcome(found, timed)}
                        for found in timed.standing.standings
                    ],
                }
                for timed in self.rounds
            ],
        }


def run_command(study: str | None, backends: Sequence[str], given: Mapping[str, Any]) -> str:
    """Write the command that runs backends on everything.

    Parameters
    ----------
    study : str or None
        As it was named.
    backends : sequence of str
        Empty for those of the study.
    given : mapping
        ``dataset``, ``data``, ``seed`` and ``settings`` of the choice; None where not given.

    Returns
    -------
    str
        For a shell.
    """
    words = ["shelfbench", "run", *([study] if study else [])]
    for name in ("dataset", "data"):
        words += [f"--{name}", str(given[name])] if given.get(name) is not None else []
    words += ["--seed", str(given["seed"])] if given.get("seed") is not None else []
    for key, value in (given.get("settings") or {}).items():
        words += ["--set", f"{key}={_as_toml(value)}"]
    for backend in backends:
        words += ["--backend", backend]
    return shlex.join(words)


def _as_toml(value: Any) -> str:
    """Write a value as ``--set`` reads it: text as it is, unless it would be read as something else."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and parse_setting(f"key={value}")[1] == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"


def _rounded(number: int) -> int:
    """Round to two digits: an estimate."""
    digits = max(0, len(str(number)) - 2)
    return round(number, -digits)
