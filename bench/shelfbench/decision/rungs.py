"""Which rungs a ladder has, and what each of them must keep: read from a run and from what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.runs.directory import Run
from shelfbench.runs.levels import NamedLevel, named_levels
from shelfbench.verdict.metrics import Target, exact_target

# In place of a precision: a level at which nothing is answered.
OFF = "off"


def rungs_of(run: Run, precision: Target | Mapping[str, Target] = "") -> list[NamedLevel]:
    """List the levels above the category that a ladder answers at, the finest first.

    Parameters
    ----------
    run : Run
    precision : Fraction, float, str, or mapping of str to these
        As for `rung_targets`; a level whose precision is ``off`` is left out.

    Returns
    -------
    list of NamedLevel

    Raises
    ------
    InputError
        If the categories of the run have no levels, or all of them are left out.
    """
    dataset = run.record.dataset
    found = named_levels(dataset)
    if not found:
        raise InputError(
            f"{run.path}: the categories have no levels above them with more than one group",
            "give the columns level1, level2 ... (docs/data.md), or decide without --levels",
        )
    if len(dataset.levels) > 1 and not dataset.category_levels:
        Console(quiet=True).warn(
            f"{run.path} is of an earlier version, which recorded only level1 of {len(dataset.levels)} levels: the "
            "ladder has no other; run the study again for all of them"
        )
    off = _off(precision)
    if unknown := off - {level.name for level in found}:
        raise InputError(
            f"there is no level {min(unknown)[:40]!r} to leave out",
            f"leave out some of: {', '.join(level.name for level in found)}",
        )
    if len(off) == len(found):
        raise InputError("every level above the category is left out", "decide without --levels, or leave one on")
    return [level for level in found if level.name not in off]


def _off(precision: Target | Mapping[str, Target]) -> set[str]:
    return {name for name, value in precision.items() if value == OFF} if isinstance(precision, Mapping) else set()


def rung_targets(precision: Target | Mapping[str, Target], names: Sequence[str]) -> tuple[Fraction, ...]:
    """Read the required precision of every rung.

    Parameters
    ----------
    precision : Fraction, float, str, or mapping of str to these
        One for all rungs, or by the name of the rung; the key ``""`` is for those that are not named. A level above the
        category that is ``off`` is none of the rungs.
    names : sequence of str
        Of the rungs.

    Returns
    -------
    tuple of Fraction

    Raises
    ------
    InputError
        If a value is not valid, or a name is not that of a rung.
    """
    off = _off(precision) - set(names) if len(names) > 1 else set()  # without a ladder, there is nothing to leave out
    given = dict(precision) if isinstance(precision, Mapping) else {"": precision}
    given = {name: value for name, value in given.items() if name not in off}
    if unknown := [name for name in given if name and name not in names]:
        remedy = f"name one of: {', '.join(names)}" if len(names) > 1 else "add --levels"
        raise InputError(f"there is no rung {str(unknown[0])[:40]!r}", remedy)
    found = tuple(exact_target(given.get(name, given.get("", "0.9"))) for name in names)
    for name, target in zip(names, found, strict=True):
        if not 0 < target < 1:
            where = f" for {name}" if len(names) > 1 else ""
            raise InputError(f"a precision of {float(target):g}{where} cannot be certified", "give one between 0 and 1")
    return found


def precisions(texts: Sequence[str]) -> dict[str, str] | str:
    """Read ``--precision``, which may be given once for all rungs and once for each of them.

    Parameters
    ----------
    texts : sequence of str
        Like ``0.9``, ``level1=0.97`` or ``level2=off``.

    Returns
    -------
    dict of str to str, or str
        By rung, as `rung_targets` reads them; a single number as it is.

    Raises
    ------
    InputError
        If a rung is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if name in found or (equals and not name):
            raise InputError(
                f"--precision {text[:40]} is not clear", "give one number, and one LEVEL=NUMBER for each level"
            )
        found[name] = value
    return found[""] if list(found) == [""] else found or "0.9"


def named_targets(names: Sequence[str], targets: Sequence[Fraction]) -> list[str]:
    """Describe rungs, so that the same ladder is known again.

    Parameters
    ----------
    names : sequence of str
    targets : sequence of Fraction

    Returns
    -------
    list of str
        Like ``level1=9/10``.
    """
    return [f"{name}={target}" for name, target in zip(names, targets, strict=True)]
