"""Draws of one study: the same data, split and trained with several seeds, in one folder with a directory for each.

``draws.json`` says which seeds there are and how each ended; everything else is in the run directories.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.base.storage import load_json, write_json
from shelfbench.base.version import __version__
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.reading import Evaluated
from shelfbench.runs.record import RECORD
from shelfbench.verdict.draws import Gap, Sampling, compare_draws, tiers
from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.resampling import replicates

DRAWS = "draws.json"
_RESAMPLES = 1000
_CERTIFIED = 0.9
_MEASURED = ("validation_precision", "validation_acceptance", "precision", "acceptance", "certified_acceptance")


def draw_path(folder: Path, seed: int) -> Path:
    """Return the run directory of a seed in a folder of draws."""
    return folder / f"seed-{seed}"


def read_draws(folder: Path) -> dict[str, Any]:
    """Read ``draws.json``.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        ``command``, and ``draws``: status and reason by seed.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    path = folder / DRAWS
    try:
        values = load_json(path)
        draws = {int(seed): (str(one["status"]), str(one["reason"])) for seed, one in values["draws"].items()}
        return {"command": str(values["command"]), "draws": draws}
    except FileNotFoundError:
        raise InputError(f"{folder} is not a folder of draws (it has no {DRAWS})", "name the --out of a run") from None
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({str(error)[:160]})", "delete it and run the same command") from None


def write_draws(folder: Path, command: str, draws: Mapping[int, tuple[str, str]]) -> None:
    """Write ``draws.json``: the command, and status and reason of each seed."""
    told = {str(seed): {"status": status, "reason": reason} for seed, (status, reason) in sorted(draws.items())}
    write_json(folder / DRAWS, {"shelfbench": __version__, "command": command, "draws": told})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Draws:
    """Draws of one study, as returned by `shelfbench.run_seeds`.

    Attributes
    ----------
    path : Path
        The folder.
    runs : dict of int to Run
        The draws that have results, by seed.
    failures : dict of int to str
        The reasons of the draws that failed, or of what failed in them.
    command : str
        The command that repeats them.
    summary : str
        What ``shelfbench run --seeds`` printed; empty for draws that were opened later.
    """

    path: Path
    runs: dict[int, Run]
    failures: dict[int, str] = field(default_factory=dict)
    command: str = ""
    summary: str = ""

    @cached_property
    def backends(self) -> tuple[str, ...]:
        """All backends that any draw has, in the order in which draws name them."""
        return tuple(dict.fromkeys(name for run in self.runs.values() for name in run.sound))

    @cached_property
    def by_draw(self) -> pd.DataFrame:
        """One row per backend and draw.

        The columns are backend, seed, validation_precision and validation_acceptance (0.9, plain), precision and
        acceptance (0.9, plain) on test, certified, certified_acceptance (on certify), certified_precision (on test) and
        seconds.
        """
        rows = []
        for seed, run in self.runs.items():
            promised = {row["backend"]: row for row in run.certified.to_dict("records") if row["target"] == _CERTIFIED}
            for backend in run.sound:
                products, found = run.products(backend), promised[backend]
                rows.append(
                    {
                        "backend": backend,
                        "seed": seed,
                        **_measured("validation_", products.where(products.split == "validation")),
                        **_measured("", products.where(products.split == "test")),
                        "certified": bool(found["certified"]),
                        "certified_acceptance": found["certified_acceptance"],
                        "certified_precision": found["certified_precision_test"],
                        "seconds": run.costs[backend].seconds,
                    }
                )
        return pd.DataFrame(rows)

    @cached_property
    def gaps(self) -> list[Gap]:
        """All pairs of `backends`, by acceptance at 0.9 on test."""
        return compare_draws(self._values, self._sampling)

    @cached_property
    def _values(self) -> np.ndarray:
        table = self.by_draw.pivot(index="backend", columns="seed", values="acceptance")
        return table.reindex(index=list(self.backends), columns=list(self.runs)).to_numpy(dtype=float)

    @property
    def shares_test(self) -> bool:
        """Whether all draws have the same test products, as where the split comes with the data."""
        first, *others = (self._test_products(run) for run in self.runs.values())
        return all(np.array_equal(first, other) for other in others)

    def _test_products(self, run: Run) -> np.ndarray:
        products = run.products(run.sound[0])
        return np.sort(products.product_id[products.split == "test"])

    @cached_property
    def _sampling(self) -> Sampling:
        splits = [run.record.split for run in self.runs.values()]
        tested = len(self._test_products(next(iter(self.runs.values()))))
        if not self.shares_test or not tested:
            known = [(split.test.products or 0) / split.train.products for split in splits if split.train.products]
            return Sampling(ratio=float(np.mean(known)) if known else 1.0)
        return Sampling(shared=self._resampled(), products=tested)

    def _resampled(self) -> np.ndarray:
        """Resample the test products that all draws share; return the variance of each pair's mean difference."""
        tests: dict[tuple[str, int], Evaluated] = {}
        for seed, run in self.runs.items():
            for name in run.sound:
                products = run.products(name)
                tests[name, seed] = products.where(products.split == "test")
        order = {key: np.argsort(test.product_id, kind="stable") for key, test in tests.items()}
        confidence = np.stack([test.confidence[order[key]] for key, test in tests.items()])
        correct = np.stack([test.correct[order[key]] for key, test in tests.items()])
        moved = replicates(confidence, correct, REQUIRED, resamples=_RESAMPLES).acceptance
        drawn = dict(zip(tests, moved, strict=True))
        found = []
        for first, second in itertools.combinations(self.backends, 2):
            both = [seed for seed in self.runs if (first, seed) in drawn and (second, seed) in drawn]
            apart = [drawn[first, seed] - drawn[second, seed] for seed in both]
            found.append(float(np.var(np.mean(apart, axis=0), ddof=1)) if apart else np.nan)
        return np.array(found)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per backend: over its draws, the mean and the standard deviation of every column of `by_draw`.

        The columns are backend, draws, tier (1: not separable from the best over the draws; 0: not tested),
        NAME_mean and NAME_sd, certified_draws (in how many draws 0.9 was certified), behind (the best's mean acceptance
        less this one's, with its 95% interval in behind_low and behind_high) and p (adjusted by Holm's method).
        """
        rows: list[dict[str, Any]] = []
        # a split without a test part leaves nothing to average
        means = [float(np.nanmean(row)) if np.isfinite(row).any() else np.nan for row in self._values]
        places = tiers(means, self.gaps)
        best = int(np.nanargmax(means)) if np.isfinite(means).any() else -1
        for number, backend in enumerate(self.backends):
            own = self.by_draw[self.by_draw["backend"] == backend]
            row: dict[str, Any] = {"backend": backend, "draws": len(own), "tier": places[number]}
            for name in (*_MEASURED, "certified_precision", "seconds"):
                row |= {f"{name}_mean": own[name].mean(), f"{name}_sd": own[name].std()}
            row["certified_draws"] = int(own["certified"].sum())
            rows.append(row | self._behind(best, number))
        return pd.DataFrame(rows)

    def _behind(self, best: int, number: int) -> dict[str, float]:
        nothing = dict.fromkeys(("behind", "behind_low", "behind_high", "p"), np.nan)
        for gap in self.gaps:
            if (gap.first, gap.second) == (best, number):
                return {"behind": gap.value, "behind_low": gap.low, "behind_high": gap.high, "p": gap.p_holm}
            if (gap.first, gap.second) == (number, best):
                return {"behind": -gap.value, "behind_low": -gap.high, "behind_high": -gap.low, "p": gap.p_holm}
        return nothing

    def __repr__(self) -> str:
        """Return the folder and its seeds in one line."""
        return f"<Draws {self.path}: seeds {', '.join(map(str, self.runs)) or 'none'}>"


def _measured(prefix: str, part: Evaluated) -> dict[str, float]:
    if not len(part.truth):
        return {f"{prefix}precision": np.nan, f"{prefix}acceptance": np.nan}
    return {
        f"{prefix}precision": float(part.correct.mean()),
        f"{prefix}acceptance": acceptance(part.confidence, part.correct, REQUIRED).acceptance,
    }


def open_draws(folder: Path) -> Draws:
    """Open a folder of draws.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Draws

    Raises
    ------
    InputError
        If it is not such a folder, no draw has results, or draws rest on different data.
    """
    told = read_draws(folder)
    runs, failures = {}, {}
    for seed, (status, reason) in told["draws"].items():
        if status not in ("done", "pending"):
            failures[seed] = reason
        path = draw_path(folder, seed)
        if (path / RECORD).is_file():
            try:
                runs[seed] = open_run(path)
                runs[seed].sound  # noqa: B018  warns of damaged backends, and raises if none is left
            except InputError as error:
                runs.pop(seed, None)
                failures.setdefault(seed, str(error))
        elif status == "done":
            failures[seed] = f"{path} is no longer there"
    if not runs:
        reasons = "; ".join(f"seed {seed}: {reason}" for seed, reason in failures.items())
        raise InputError(f"no draw in {folder} has results ({reasons or 'none has finished'})", "run the same command")
    _check_data(runs)
    return Draws(path=folder, runs=runs, failures=failures, command=told["command"])


def _check_data(runs: Mapping[int, Run]) -> None:
    (first, one), *others = runs.items()
    for seed, run in others:
        if run.record.dataset.hash != one.record.dataset.hash:
            raise InputError(
                f"seeds {first} and {seed} in {run.path.parent} were run on different data "
                f"({one.record.dataset.products or 0:,} and {run.record.dataset.products or 0:,} products)",
                "run all draws again in a new folder",
            )
