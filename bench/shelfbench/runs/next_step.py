"""What to do about a run that promises nothing: a sentence, and a command that can help."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from shelfbench.base.grid import percent
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.reading import Evaluated
from shelfbench.runs.record import RunRecord
from shelfbench.verdict.certify import certify, coverage_grid, products_to_certify
from shelfbench.verdict.labelling import LIKELY, plan_sampling
from shelfbench.verdict.metrics import acceptance
from shelfbench.verdict.walk import Tuned

LEVEL = 0.95  # the probability that `decide` and `label` ask for by default
_RUN = ["shelfbench", "run"]
_BUDGETS = (100, 200, 400, 800)  # labels that a shop may give a person to make
_GOOD = 0.8  # a chance that is worth the labels
# A backend that is right on 95% of what it accepts is certified on so many accepted products, a twentieth of all.
_RIGHT, _CERTIFY = Fraction(19, 20), 20
_FLOW = 5000  # products of a flow like the held-out ones
_LOWER = ("0.8", "0.7")
# two backends of the study `own`, on the network that comes with the package; and a larger network
_NETWORK = ("bottleneck-svm", "bottleneck-2nn-2048")
_LARGER = "keras:ConvNeXtTiny"


@dataclass(frozen=True)
class Step:
    """What to do, and the command for it, as it can be copied to a shell; empty if no command does it."""

    text: str
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where a run lies and how it was made: what its commands and the chances of its next steps come from.

    Attributes
    ----------
    path : Path
        Its directory.
    record : RunRecord
        Its ``run.json``.
    products : callable or None
        `Run.products`; without it, nothing is known of what labels or a lower precision would give.
    """

    path: Path = Path("DIR")
    record: RunRecord[BackendEntry] = field(default_factory=RunRecord)
    products: Callable[[str], Evaluated] | None = None

    def on_run(self, verb: str, backend: str, *options: str) -> str:
        """Write a command about a backend of the run; of merged runs, in the run directory that it came from."""
        path, own = self.record.homes.get(backend, (self.path, backend))
        return shlex.join(["shelfbench", verb, as_word(path), own, *options])

    def split_anew(self) -> Step:
        """Say what to do about data that bring no validation part."""
        return Step(
            "What to do: let shelfbench draw the parts, a tenth of the products for validation, with this command:",
            self._elsewhere("split", "--set", "split.rule=paper"),
        )

    def label(self, backend: str, level: float, certify: int) -> Step:
        """Say how many products people should label; where labels would hardly help, what else would.

        No fewer than those that certify today, which were not enough.
        """
        chances = {budget: self._chance(backend, budget, level) for budget in _BUDGETS if budget > certify}
        good = [budget for budget, chance in chances.items() if chance >= _GOOD]
        budget = min(good) if good else max(chances, key=lambda one: chances[one], default=0)
        if chances.get(budget, 0.0) < LIKELY:
            return self.better([backend])
        strict = ["--confidence", f"{level:.9g}"] * (level != LEVEL)
        return Step(
            f"What to do: have people label {budget} new products that are not in this run. By what is known so far, "
            f"that certifies {backend} with a chance of {chances[budget]:.0%}. Put photos of a few thousand new "
            "products, as they come, into a folder (here new-photos/); this command draws those to label:",
            self.on_run("label", backend, "new-photos/", "--budget", str(budget), *strict),
        )

    def more_products(self, known: int, part: str) -> Step:
        """Say how many labelled products it takes where too few are known to choose a backend or to judge it."""
        if not self._networks and (step := self._network()):
            return step
        parts = [self.record.split.train, self.record.split.validation, self.record.split.test]
        now = sum(one.products or 0 for one in parts)
        certify = products_to_certify(_RIGHT) or 0
        enough = certify * _CERTIFY
        if now >= enough:  # this split keeps fewer back than usual
            enough = certify * now // known
        return Step(
            f"What to do: add labelled products to the data. The {known:,} of {part} show neither which backend is "
            f"best nor how often it is right; with about {round(enough, -2):,} labelled products in all"
            f"{f' (now {now:,})' * bool(now)}, a tenth of them for validation, both can be told. Then run again, into "
            "a new folder:",
            self._elsewhere("more"),
        )

    def better(self, backends: Sequence[str]) -> Step:
        """Say what to try where no label would help: a network, a lower precision, or other categories."""
        return self._network() or self._lower(backends) or self._mended()

    def _network(self) -> Step | None:
        """Name backends on a network that has not been tried; None if two were, or the run cannot be gone on with."""
        on_networks = self._networks
        if len(set(on_networks.values())) > 1 or not self._typed:
            return None
        if on_networks:
            what = "a larger network, whose weights Keras downloads once. This command adds it"
            wanted = [f"{next(iter(on_networks)).partition('@')[0]}@{_LARGER}"]
        else:
            what = (
                "features of a pretrained network, which tell most products apart better than what was tried. This "
                "command adds the backends that use them"
            )
            wanted = list(_NETWORK)
        wanted = [name for name in wanted if name not in self.record.backends]
        options = [word for name in wanted for word in ("--backend", name)]
        text = f"What to do: try {what} to this run:"
        return Step(text, shlex.join([*self._typed, *options])) if wanted else None

    @property
    def _typed(self) -> list[str]:
        """The words of the command that made the run, to be quoted anew where they are shown; empty if it was none."""
        try:
            words = shlex.split(self.record.command)
        except ValueError:  # a record may hold anything
            return []
        return words if words[:2] == _RUN else []

    @property
    def _networks(self) -> dict[str, str]:
        """What the features of each backend come from, of those that come from a network."""
        done = {name: _network_of(entry.settings) for name, entry in self.record.backends.items() if entry.done}
        return {name: network for name, network in done.items() if network}

    def _lower(self, backends: Sequence[str]) -> Step | None:
        """Name the highest lower precision that `tune` speaks for, and the backend that accepts the most at it."""
        for precision in _LOWER if self.products is not None else ():
            reached = {name: self._reached(name, precision) for name in backends}
            best = max(reached, key=lambda name: reached[name], default="")
            if best and reached[best] > 0:
                lower = ("--precision", precision, "--all-categories", "--out", "decision")
                return Step(
                    f"What to do: ask for less. At a precision of {float(precision):.0%}, {best} takes "
                    f"{percent(reached[best])} of the tuning half of validation; this command tests whether that can "
                    "be promised:",
                    self.on_run("decide", best, *lower),
                )
        return None

    def _mended(self) -> Step:
        """Say what to do where neither another network nor a lower precision is left to try."""
        text = (
            "What to do: mend the data. Merge categories that are mixed up with each other (“Where the errors are”), "
            "and correct wrong labels"
        )
        if not self._typed:
            return Step(f"{text}; then run again.")
        return Step(f"{text}; then run again, in a new folder:", self._elsewhere("mended"))

    def _elsewhere(self, suffix: str, *options: str) -> str:
        """Write the command that repeats the run in a new directory."""
        words = self._typed or [*_RUN, "--dataset", self.record.dataset.name or "PATH"]
        if "--out" in words:
            at = words.index("--out")
            words[at : at + 2] = []
        return shlex.join([*words, *options, "--out", as_word(self.path.with_name(f"{self.path.name}-{suffix}"))])

    def _chance(self, backend: str, budget: int, level: float) -> float:
        """Estimate how probable it is that so many labels of a flow like the held-out products certify something."""
        if self.products is None:
            return 0.0
        found = self.products(backend)
        tune = found.where(found.role == "tune")
        sure = found.confidence[(found.role == "tune") | (found.split == "test")]
        if not len(tune.truth) or not np.any(sure > -np.inf):
            return 0.0
        flow = np.tile(sure, -(-_FLOW // len(sure)))
        return plan_sampling(flow, (tune.confidence, tune.correct), budget=budget, level=level).chance

    def _reached(self, backend: str, precision: str) -> float:
        """Share that a backend accepts of `tune` at a precision; 0 where `tune` itself would not certify any."""
        assert self.products is not None
        found = self.products(backend)
        tune = found.where(found.role == "tune")
        if not len(tune.truth):
            return 0.0
        grid = coverage_grid(tune.confidence)
        start = Tuned.of(tune.confidence, tune.correct, grid)
        if not certify(tune.confidence, tune.correct, grid, precision, start=start).certified:
            return 0.0
        return acceptance(tune.confidence, tune.correct, precision).acceptance


def as_word(path: Path) -> str:
    """Write a path as a word of a command; "./" keeps the name of a folder from being taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def _network_of(settings: dict[str, object]) -> str:
    """Return what the features of a backend come from; empty if from no network."""
    backbone = settings.get("backbone")
    return str(backbone.get("name", "")) if isinstance(backbone, dict) else str(settings.get("features") or "")
