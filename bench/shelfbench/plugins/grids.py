"""The candidates of a grid of parameters, and which of them is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shelfbench.base.errors import RunError, first_line
from shelfbench.plugins.estimators import Recipe

# With fewer values than this, the best is always near an end.
_LEAST = 3


def shown(candidate: Mapping[str, Any]) -> str:
    """Return a candidate in words, with a space before it: `` with C=0.1, penalty=l1``; empty without a grid.

    Parameters
    ----------
    candidate : mapping of str to object

    Returns
    -------
    str
    """
    return f" with {_key(candidate)}" if candidate else ""


def _key(candidate: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in candidate.items())


class Search:
    """Keeps the best candidate of a grid.

    Parameters
    ----------
    recipe : Recipe
    candidates : sequence of dict
    """

    def __init__(self, recipe: Recipe, candidates: Sequence[Mapping[str, Any]]) -> None:
        self.recipe, self.candidates = recipe, candidates
        self.precision: dict[str, float] = {}
        self._failed: list[tuple[str, str]] = []
        self._best: tuple[Mapping[str, Any], float, Any] | None = None

    def add(self, candidate: Mapping[str, Any], precision: float, result: Any) -> None:
        """Note a candidate that was fitted; in a tie, the first stays the best.

        Parameters
        ----------
        candidate : mapping of str to object
        precision : float
            On `tune`.
        result : object
            Kept while it is the best.
        """
        self.precision[_key(candidate)] = precision
        if self._best is None or precision > self._best[1]:
            self._best = candidate, precision, result

    def failed(self, candidate: Mapping[str, Any], error: Exception) -> None:
        """Note a candidate that could not be fitted.

        Parameters
        ----------
        candidate : mapping of str to object
        error : Exception
        """
        self._failed.append((_key(candidate), first_line(error)))

    def best(self, where: str, images: int) -> Any:
        """Return the result of the best candidate.

        Parameters
        ----------
        where : str
            What the estimator is called in messages.
        images : int
            Number of training images.

        Returns
        -------
        object

        Raises
        ------
        RunError
            If every candidate failed.
        """
        if self._best is None:
            raise RunError(
                f"{where} cannot be fitted on {images:,} images ({self._failed[0][1]})",
                "change its parameters, or choose another estimator",
            )
        return self._best[2]

    def record(self, tuned: bool) -> dict[str, Any]:
        """Return the choice as JSON: ``parameters``, ``tune_precision``, ``failed`` and ``edge`` where there are any.

        Parameters
        ----------
        tuned : bool
            Whether there was anything to choose on.

        Returns
        -------
        dict
        """
        if not self.recipe.grid or self._best is None:
            return {}
        record: dict[str, Any] = {"parameters": dict(self._best[0])}
        if tuned:
            record["tune_precision"] = self.precision
        if self._failed:
            record["failed"] = dict(self._failed)
        if edges := self._edges():
            record["edge"] = edges
        return record

    def _edges(self) -> dict[str, str]:
        """Find the numeric parameters whose best value is the smallest or the largest of at least three.

        Not if another candidate is as good and does not lie there.
        """
        if self._best is None or len(self.candidates) == 1:
            return {}
        edges = {}
        tied = [item for item in self.candidates if self.precision.get(_key(item)) == self._best[1]]
        for name, values in self.recipe.grid.items():
            numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
            best = self._best[0][name]
            if len(numbers) >= _LEAST and len(numbers) == len(values) and best in (min(numbers), max(numbers)):
                if any(item[name] != best for item in tied):
                    continue
                edges[name] = "smallest" if best == min(numbers) else "largest"
        return edges

    def warning(self) -> str:
        """Say in words that the best lies at the end of a grid."""
        assert self._best is not None
        parts = [f"{name}={self._best[0][name]:g} is the {end} of its grid" for name, end in self._edges().items()]
        return f"the best {' and '.join(parts)}; values beyond it may be better"
