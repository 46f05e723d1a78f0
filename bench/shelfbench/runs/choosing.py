"""A quick choice among backends: successive halving on growing parts of train, judged on `tune` alone.

The first part is tried by all candidates, which also shows what each of them takes. Every further part is as large as
the budget allows; candidates that are behind for sure do not learn from it. The features that are computed on the way
are kept in the feature store, like those of a run, and count at what they took when they were computed, so that the
choice does not depend on what the cache holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import duration
from shelfbench.cost.growing import Pace, affordable
from shelfbench.data.datasets import check_dataset
from shelfbench.data.feature_store import Features
from shelfbench.data.material import Material
from shelfbench.data.rows import rows_of
from shelfbench.plugins.finding import split_name
from shelfbench.runs.building import BuiltBackend, build_backend, suited, training_data
from shelfbench.runs.experiment import Experiment, Jobs
from shelfbench.runs.parts import LEAST_GROWTH, Parts
from shelfbench.runs.quick_choice import Budget, QuickChoice, TimedRound
from shelfbench.runs.recorder import Recorder
from shelfbench.runs.scoring import choose_rule, score
from shelfbench.study.model import Study
from shelfbench.verdict.halving import Judged, Round, before_last, judge, staying

# Share of what is left that a part takes on the way to the last one.
_ON_THE_WAY = 0.9
# What an image that judges costs while a candidate learns, where one that it learns from costs 1: it is only scored.
_JUDGING = 1 / 3
# Share of what is left that a part may be predicted to take: predictions are a little wrong.
_SAFE = 0.85
BEHIND, NO_BUDGET = "behind for sure", "left out for the budget"


def choose_quickly(
    study: Study,
    budget: Budget,
    *,
    data: Path | None = None,
    workers: int = 1,
    console: Console | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> QuickChoice:
    """Choose among the backends of a study within a share of its time.

    Parameters
    ----------
    study : Study
        A comparison of at least two backends, none of which trains a network first.
    budget : Budget
    data : Path, optional
        Where to look for a named dataset first.
    workers : int
        Processes or threads for decoding and classical features.
    console : Console, optional
    clock : callable
        Returns the seconds that count.

    Returns
    -------
    QuickChoice
        Its command is empty; the caller knows the words.

    Raises
    ------
    TooSmall
        If there are so few products that a share of the study's time says nothing for sure; not with minutes.
    InputError
        If the study, the data or the budget leave nothing to choose.
    ShelfbenchError
        If all candidates but one failed, of the class of the first failure.
    """
    console = console or Console(quiet=True)
    _check(study)
    check_dataset(study.dataset.name, data)
    place = Path()  # nothing is written there
    record = Recorder(place, {"dataset": {}, "split": {}, "backends": {}})
    jobs = Jobs(record, console, "candidates")
    experiment = Experiment(
        study=study, data=data, out=place, workers=workers, console=console, record=record, jobs=jobs
    )
    return _Choosing(experiment, budget, clock).run()


def _check(study: Study) -> None:
    if study.experiment:
        raise InputError(
            f"the study {study.name} runs the experiment {study.experiment}",
            "a quick choice is among the backends of a comparison, such as those of the study fashion",
        )
    if len(study.backends) < 2:
        raise InputError(
            f"{study.backends[0]} is the only candidate" if study.backends else "there is no candidate",
            "name at least two: --backend bottleneck-svm --backend bottleneck-2nn-2048",
        )


class TooSmall(InputError):
    """There are too few products for a quick choice."""


class _Hushed(Console):
    """Keeps to itself what a candidate has to say about a part: of everything, it may be otherwise."""

    def warn(self, message: str) -> None:
        """Print the warning only if verbose."""
        self.detail(message)


class _Choosing:
    """A quick choice while it is made.

    `features`, by folder of the store, and `fits`, by candidate, are what each takes for a number of images.
    """

    def __init__(self, experiment: Experiment, budget: Budget, clock: Callable[[], float]) -> None:
        self.experiment, self.budget, self._clock = experiment, budget, clock
        self._hushed = _Hushed(experiment.console.quiet, experiment.console.verbose)
        self.parts = Parts.of(experiment.material, experiment.study.seed)  # opens the data
        self.all_images = len(experiment.material.image)
        if budget.share is not None and (why := self.parts.too_few(budget.share, self.all_images)):
            raise TooSmall(
                f"{experiment.material.catalogue.name} is too small for a quick choice: {why}", "run all backends"
            )
        judging = self.parts.material.only(np.sort(self.parts.tune)), self.parts.part(self.parts.first)
        self._judges = len(judging[0].image)
        self._first_judges = len(judging[1].image) - int(self.parts.images[self.parts.first])
        self.built: dict[str, BuiltBackend] = {}
        self.features: dict[str, Pace] = {}
        self.fits: dict[str, Pace] = {}
        self._scoring: dict[str, float] = {}
        self._in_store = self.start = 0.0
        self._began = clock()

    def run(self) -> QuickChoice:
        """Go from part to part until one candidate is left, or the budget is used up."""
        self._build()
        names, rounds, dropped = tuple(self.built), list[TimedRound](), dict[str, str]()
        size = self.parts.first
        while True:
            timed = self._round(names, size)
            rounds.append(timed)
            now = timed.standing
            # the first part shows what each takes; nobody drops out for what it says
            earlier = before_last([one.standing for one in rounds])
            stay = names if len(rounds) == 1 else staying(now, earlier, self.parts.products)
            dropped |= {found.name: BEHIND for found in now.standings if found.name not in stay}
            names = tuple(found.name for found in now.standings if found.name in stay)
            going, size = self._next(names, now)
            dropped |= {name: NO_BUDGET for name in names if size and name not in going}
            if not size:
                return self._result(rounds, dropped)
            names = going

    def _build(self) -> None:
        study, jobs = self.experiment.study, self.experiment.jobs
        for name in study.backends:
            spec = study.spec(split_name(name, study.backbone)[0])
            jobs.add(name, notes={"columns": dict(spec.columns)})
            work = partial(self._built, name)
            if (built := jobs.attempt([name], work)) is not None:
                self.built[name] = built
        if len(self.built) < 2 and (error := jobs.error()) is not None:
            raise error
        self.start = self.spent

    def _built(self, name: str) -> BuiltBackend:
        sections = self.experiment.study.sections
        built = suited(build_backend(name, sections, self.experiment), sections, self.experiment)
        if built.backend.trainer is not None:
            raise InputError(
                f"{name} trains its network first, which no small part of the photos stands for",
                "leave it out (--backend names the others), or run it",
            )
        return built

    @property
    def spent(self) -> float:
        """Seconds so far, with features at what they took when they were computed."""
        features = sum(pace.seen[-1][1] for pace in self.features.values())
        return self._clock() - self._began - self._in_store + features

    def full(self) -> float:
        """Estimated seconds of all candidates on all photos."""
        tune = self.parts.material.images_of("tune")
        units = int(self.parts.images[-1]) + _JUDGING * (tune.stop - tune.start)
        fitting = sum(self.fits[name].at(units) + self._scoring[name] * self.all_images for name in self.built)
        return self.start + fitting + sum(pace.at(self.all_images) for pace in self.features.values())

    def _round(self, names: Sequence[str], size: int) -> TimedRound:
        """Let candidates learn from one part, and judge them."""
        before, images = self.spent, int(self.parts.images[size])
        self.experiment.console.log(
            f"{', '.join(names)}: learning from {size:,} of {self.parts.products:,} training products"
        )
        part, judged, fits = self.parts.part(size), dict[str, Judged](), dict[str, float]()
        for key, group in self._groups(names).items():
            features = self.experiment.jobs.attempt(group, partial(self._extract, key, self.built[group[0]], part))
            for name in group:
                if features is not None:
                    started = self._clock()
                    work = partial(self._fit, name, features, part)
                    if (found := self.experiment.jobs.attempt([name], work)) is not None:
                        judged[name] = found
                        fits[name] = self._clock() - started
                if name not in judged:
                    del self.built[name]
        error = self.experiment.jobs.error()
        if error is not None and (not judged or len(self.built) < 2):
            raise error
        ordered = {name: judged[name] for name in names if name in judged}
        standing = judge(size, ordered)
        return TimedRound(standing=standing, images=images, seconds=self.spent - before, fits=fits)

    def _groups(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Group candidates by the features that they share."""
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(str(self.built[name].store.folder), []).append(name)
        return groups

    def _extract(self, key: str, built: BuiltBackend, part: Material) -> Features:
        started = self._clock()
        features = built.store.features(part.catalogue, part.image, self.experiment.digests)
        self._in_store += self._clock() - started
        self.features[key] = self.features.get(key, Pace()).and_(len(part.image), features.seconds)
        unreadable = len(part.image) - int(features.readable.sum())
        if unreadable:
            self.experiment.console.log(f"{unreadable:,} of {len(part.image):,} photos of this part cannot be read")
        return features

    def _fit(self, name: str, features: Features, part: Material) -> Judged:
        """Fit a candidate on a part and predict the products that judge."""
        study = self.experiment.study
        classifier = self.built[name].backend.classifier()
        train, tune = part.images_of("train"), part.images_of("tune")
        started = self._clock()
        classifier.fit(training_data(features, part), seed=study.seed, console=self._hushed)
        fitted = self._clock()
        units = train.stop - train.start + _JUDGING * (tune.stop - tune.start)
        self.fits[name] = self.fits.get(name, Pace()).and_(units, fitted - started)
        judges = part.only(np.flatnonzero((part.frame["role"] == "tune").to_numpy()))
        own = replace(
            features,
            matrix=rows_of(features.matrix, tune),
            readable=features.readable[tune],
            reasons={row - tune.start: why for row, why in features.reasons.items() if row >= tune.start},
        )
        rule = choose_rule(
            classifier, own, judges, settings=study.verdict, seed=study.seed, console=Console(quiet=True)
        )
        began = self._clock()
        with Console(quiet=True).progress(0, "") as bar:
            rows = score(classifier, own, judges, rule, bar).predictions.to_pandas()
        self._scoring[name] = (self._clock() - began) / max(1, tune.stop - tune.start)
        rejected = rows["rejected"].notna().to_numpy()
        return Judged(
            np.where(rejected, -np.inf, rows["confidence"].to_numpy(np.float64)),
            (rows["category"].astype(str) == rows["predicted"].astype(str)).to_numpy() & ~rejected,
        )

    def _next(self, names: tuple[str, ...], now: Round) -> tuple[tuple[str, ...], int]:
        """Say who goes on, and to a part of how many products; 0 if this was the last one."""
        most, least = self.parts.products, int(np.ceil(LEAST_GROWTH * now.products))
        if len(names) < 2 or now.products == most:
            return names, 0
        left = _SAFE * (self.budget.allowed(self.full()) - self.spent)
        tried_once = any(len(self.fits[name].seen) < 2 for name in names)
        shares = (_ON_THE_WAY, 1.0) if tried_once or len(names) > 2 else (1.0,)
        while True:
            cost = partial(self._cost, names, now.products)
            for share in shares:
                if size := affordable(cost, share * left, min(least, most), most):
                    return names, size
            if len(names) == 2:
                return names, 0
            # the budget does not do for all of them: the better half goes on
            names = names[: max(2, len(names) // 2)]

    def _cost(self, names: Sequence[str], before: int, size: int) -> float:
        """Predict the seconds of a part, the features of the one before being there."""
        images, first = int(self.parts.images[size]), before == self.parts.first
        more = images - int(self.parts.images[before]) + first * (self._judges - self._first_judges)
        features = sum(more * self.features[key].per_image for key in self._groups(names))
        return features + sum(self.fits[name].at(images + _JUDGING * self._judges) for name in names)

    def _result(self, rounds: Sequence[TimedRound], dropped: dict[str, str]) -> QuickChoice:
        study, full = self.experiment.study, self.full()
        self.experiment.console.detail(f"all candidates on everything: about {duration(full)}")
        return QuickChoice(
            study=study.name,
            data=self.experiment.material.catalogue.name,
            rounds=tuple(rounds),
            dropped=dropped,
            products=self.parts.products,
            judges=len(self.parts.tune),
            seconds=self.spent,
            full_seconds=full,
            start_seconds=self.start,
            budget=self.budget,
            command="",
            failed={name: str(error) for name, error in self.experiment.jobs.failures.items()},
        )
