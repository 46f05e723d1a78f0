"""Scikit-learn estimators: found by their import paths, given their parameters, and checked before a run computes."""

from __future__ import annotations

import difflib
import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shelfbench.base.errors import InputError, first_line
from shelfbench.plugins.backend import HeadSettings

_IN_CODE = "make it in a function of a package (shelfbench.plugins.sklearn)"
NONE = "None"
"""TOML has no null: this text stands for it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an estimator is made.

    Attributes
    ----------
    where : str
        What it is called in messages: ``heads.knn``.
    title : str
        Its name for tables: ``KNeighborsClassifier``.
    steps : tuple of callable
        Each returns an unfitted step of a pipeline; a single one is the estimator itself.
    parameters, grid : mapping
        See `HeadSettings`.
    record : dict
        The settings for the record of a run.
    library : str
        The package that the last step comes from: ``sklearn``.
    """

    where: str
    title: str
    steps: tuple[Callable[[], Any], ...]
    parameters: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]
    record: dict[str, Any]
    library: str

    def estimator(self, chosen: Mapping[str, Any] | None = None) -> Any:
        """Make the unfitted estimator.

        Parameters
        ----------
        chosen : mapping, optional
            Values of the grid's parameters.

        Returns
        -------
        estimator

        Raises
        ------
        InputError
            If it cannot be imported or made, is not a classifier with probabilities or scores, or a parameter is
            unknown or refused.
        """
        made = [self._step(step) for step in self.steps]
        if len(made) == 1:
            [estimator] = made
        else:
            from sklearn.pipeline import make_pipeline

            estimator = make_pipeline(*made)
        self._set(estimator, {**self.parameters, **(chosen or {})})
        try:
            _check_kind(estimator, self.where, self.title)
        except AttributeError as error:  # an estimator that holds another one, which is missing
            raise InputError(f"{self.where}: {self.title} cannot be used ({first_line(error)})", _IN_CODE) from None
        return estimator

    def candidates(self) -> Iterator[dict[str, Any]]:
        """Go through the values of the grid, the last parameter fastest; one empty choice without a grid."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def check(self) -> None:
        """Make every candidate once, so that a wrong name or value stops a run before it computes anything.

        Raises
        ------
        InputError
            See `estimator`.
        """
        for chosen in self.candidates():
            estimator = self.estimator(chosen)
            steps = [step for _, step in estimator.steps] if len(self.steps) > 1 else [estimator]
            for step in steps:
                try:
                    if hasattr(step, "_parameter_constraints"):
                        step._validate_params()  # what scikit-learn's own fit begins with
                except (ValueError, TypeError) as error:
                    raise InputError(f"{self.where}: {first_line(error)}", "give another value") from None

    def classes(self) -> frozenset[str]:
        """Names of the classes that the estimator and its parts have, before they are fitted.

        Returns
        -------
        frozenset of str

        Raises
        ------
        InputError
            See `estimator`.
        """
        estimator = self.estimator()
        parts = [estimator, *estimator.get_params(deep=True).values()]
        kinds = {type(part) for part in parts if hasattr(part, "get_params")}
        return frozenset(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)

    def _step(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.where}: {getattr(make, '__name__', self.title)} cannot be made without arguments "
                f"({first_line(error)})",
                _IN_CODE,
            ) from None

    def _set(self, estimator: Any, values: Mapping[str, Any]) -> None:
        if not hasattr(estimator, "get_params") or not hasattr(estimator, "fit"):
            raise InputError(f"{self.where}: {self.title} is not a scikit-learn estimator", "name one that is")
        known = estimator.get_params(deep=True)
        for name in values:
            if name not in known:
                own = sorted(key for key in known if not _is_step(estimator, key))
                of_steps = [key for key in own if key.endswith(f"__{name}")]
                close = [*of_steps, *difflib.get_close_matches(name, own, 1)]
                raise InputError(
                    f"{self.where}: {self.title} has no parameter {name!r}",
                    f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(own)}",
                )
        estimator.set_params(**{name: None if value == NONE else value for name, value in values.items()})


def _is_step(estimator: Any, key: str) -> bool:
    return key in dict(getattr(estimator, "steps", ())) or (hasattr(estimator, "steps") and key == "steps")


def recipe_of(
    estimator: str | Sequence[str] | Callable[[], Any],
    parameters: Mapping[str, Any] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    where: str = "the estimator",
) -> Recipe:
    """Describe how an estimator is made; nothing is imported yet.

    Parameters
    ----------
    estimator : str, sequence of str, or callable
        See `shelfbench.plugins.sklearn.sklearn_backend`.
    parameters : mapping, optional
    grid : mapping, optional
    where : str
        What it is called in messages.

    Returns
    -------
    Recipe
    """
    paths = () if callable(estimator) else (estimator,) if isinstance(estimator, str) else tuple(estimator)
    name = getattr(estimator, "__qualname__", type(estimator).__name__)
    record: dict[str, Any] = {"estimator": estimator if isinstance(estimator, str) else list(paths) or name}
    record |= {"parameters": dict(parameters or {})} | ({"grid": dict(grid)} if grid else {})
    return Recipe(
        where=where,
        title=" + ".join(path.rpartition(".")[2] for path in paths) or name,
        steps=(estimator,) if callable(estimator) else tuple(_Path(path, where) for path in paths),
        parameters=parameters or {},
        grid=grid or {},
        record=record,
        library=(paths[-1] if paths else str(getattr(estimator, "__module__", ""))).partition(".")[0],
    )


def recipe_of_head(name: str, head: HeadSettings) -> Recipe:
    """Describe how the estimator of a section ``[heads.NAME]`` is made.

    Parameters
    ----------
    name : str
    head : HeadSettings

    Returns
    -------
    Recipe
    """
    return recipe_of(head.estimator, head.parameters, head.grid, f"heads.{name}")


class _Path:
    """An import path of an estimator, imported when it is made."""

    def __init__(self, path: str, where: str) -> None:
        self.path, self.where = path, where
        self.__name__ = path.rpartition(".")[2]

    def __call__(self) -> Any:
        module, _, name = self.path.rpartition(".")
        if not module:
            raise InputError(f"{self.where}: {self.path!r} names no module", _suggest(name))
        try:
            kind = getattr(importlib.import_module(module), name)
        except ImportError as error:
            top = module.partition(".")[0]
            missing = getattr(error, "name", None) == top
            remedy = f"python -m pip install {top}" if missing else _suggest(name)
            raise InputError(f"{self.where}: {self.path!r} cannot be imported ({first_line(error)})", remedy) from None
        except (AttributeError, ValueError):
            raise InputError(f"{self.where}: {module} has no {name!r}", _suggest(name)) from None
        if not callable(kind):
            raise InputError(f"{self.where}: {self.path!r} is not a class", _suggest(name))
        return kind()


def _suggest(name: str) -> str:
    from sklearn.utils import all_estimators

    public = {
        known: ".".join(part for part in kind.__module__.split(".") if not part.startswith("_"))
        for known, kind in all_estimators()
    }
    close = difflib.get_close_matches(name, public, 1)
    return f"did you mean {public[close[0]]}.{close[0]}?" if close else "check its name"


def _check_kind(estimator: Any, where: str, title: str) -> None:
    from sklearn.base import is_clusterer, is_regressor

    shape = {key: value for key, value in estimator.get_params(deep=True).items() if key.endswith("function_shape")}
    if "ovo" in shape.values():
        raise InputError(f"{where}: {title} scores pairs of categories", f"set {next(iter(shape))} to 'ovr'")
    remedy = "name a classifier with predict_proba or decision_function"
    if is_regressor(estimator):
        raise InputError(f"{where}: {title} predicts numbers, not categories", remedy)
    if is_clusterer(estimator):
        raise InputError(f"{where}: {title} finds clusters of its own, not the categories", remedy)
    if not hasattr(estimator, "predict"):
        raise InputError(f"{where}: {title} is not a classifier", remedy)
    if not hasattr(estimator, "predict_proba") and not hasattr(estimator, "decision_function"):
        raise InputError(f"{where}: {title} gives neither probabilities nor scores with these parameters", remedy)
