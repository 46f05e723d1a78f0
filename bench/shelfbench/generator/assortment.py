"""The contents of the catalogue: its categories, their sizes, and each product's true category and label."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.generator.settings import GeneratorSettings, read_counts
from shelfbench.generator.sketch import Style
from shelfbench.generator.taxonomy import BOOKS, DEPARTMENTS, Motif

SMALLEST = 20
"""Fewest products of a category, if there are enough: the paper's rule drops smaller ones (C, §3)."""

HEAD, HEAD_SHARE = 0.2, 0.8
"""80% of the data in 20% of the categories (C, §1)."""

NEAR_MISTAKES = 0.8
"""Share of wrong labels that stay within the department."""

HARD_FIRST = 0.35
"""How far hard families move up in the random order of sizes, from 0 to 1: shops list most products in categories that
look alike."""

FIRST_ID = 1000010000


@dataclass(frozen=True)
class DrawnCategory:
    """One category: its key, its three names, how its products are drawn, and how many there are."""

    key: int
    levels: tuple[str, str, str]
    motif: Motif
    style: Style
    size: int


@dataclass(frozen=True)
class Assortment:
    """A catalogue before its photos are drawn.

    Attributes
    ----------
    categories : tuple of DrawnCategory
    truth, labels : ndarray of int64, shape (products,)
        Positions in `categories`: what a product is, and what its label says.
    """

    categories: tuple[DrawnCategory, ...]
    truth: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class _Role:
    department: str
    motif: Motif
    variant: int


def draw_assortment(settings: GeneratorSettings) -> Assortment:
    """Draw everything but the pictures.

    Parameters
    ----------
    settings : GeneratorSettings

    Returns
    -------
    Assortment

    Raises
    ------
    InputError
        If the list of counts is invalid, or fewer products are requested than it has categories.
    """
    rng = np.random.default_rng([settings.seed, 0])
    if settings.counts:
        listed = read_counts(Path(settings.counts))
        cast = _cast(settings, len(listed))
        names = [name for name, _ in listed]
        sizes = _scaled(np.array([count for _, count in listed]), settings)
    else:
        cast = _cast(settings, settings.categories)
        names = [role.motif.name + (f" - SERIES {role.variant + 1}" if role.variant else "") for role in cast]
        sizes = _sizes(settings, cast, rng)
    styles = _styles(settings, cast)
    categories = tuple(
        DrawnCategory(FIRST_ID + 7 * place, (role.department, role.motif.family, name), role.motif, style, int(size))
        for place, (role, name, style, size) in enumerate(zip(cast, names, styles, sizes, strict=True))
    )
    truth = rng.permutation(np.repeat(np.arange(len(categories)), sizes))
    return Assortment(categories, truth, _mislabel(truth, categories, settings.label_noise, rng))


def _cast(settings: GeneratorSettings, number: int) -> list[_Role]:
    """Distribute the categories over the departments, and give each a motif."""
    others = [name for name in DEPARTMENTS if name != BOOKS][: settings.departments - 1]
    departments = [BOOKS, *others] if settings.books else others
    cast: list[_Role] = []
    for place, department in enumerate(departments):
        motifs = DEPARTMENTS[department]
        share = (number - place + len(departments) - 1) // len(departments)
        cast.extend(_Role(department, motifs[k % len(motifs)], k // len(motifs)) for k in range(share))
    return cast


def _styles(settings: GeneratorSettings, cast: list[_Role]) -> list[Style]:
    """Give each category its style: variants narrow the motif; without lookalikes, each has its own band of hues."""
    members = Counter(role.motif.family for role in cast)
    met: Counter[str] = Counter()
    styles = []
    for role in cast:
        family = role.motif.family
        apart = not settings.lookalikes and role.department != BOOKS and members[family] > 1
        hue = (met[family] + 0.5) / members[family] if apart else -1.0
        met[family] += 1
        styles.append(Style(role.variant, hue))
    return styles


def _sizes(settings: GeneratorSettings, cast: list[_Role], rng: np.random.Generator) -> np.ndarray:
    """Draw the number of products of each category."""
    number, total = len(cast), settings.products
    if not settings.skew:
        return np.full(number, total // number) + (np.arange(number) < total % number)
    hard = np.array([role.department == BOOKS or role.motif.alike for role in cast])
    order = np.argsort(-(rng.random(number) + HARD_FIRST * hard))
    head = max(1, round(HEAD * number))
    large = total if head == number else min(round(HEAD_SHARE * total), total - (number - head))
    sizes = np.empty(number, dtype=np.int64)
    sizes[order[:head]] = _falling(large, head, 0.5)
    if head < number:
        sizes[order[head:]] = _falling(total - large, number - head, 0.8)
    return sizes


def _falling(total: int, number: int, power: float) -> np.ndarray:
    """Return sizes that fall with the rank and add up to `total`, none below `SMALLEST` if possible."""
    floor = min(SMALLEST, total // number)
    weights = np.arange(1, number + 1, dtype=np.float64) ** -power
    return floor + _apportion(weights, total - floor * number)


def _apportion(weights: np.ndarray, total: int) -> np.ndarray:
    """Return whole numbers in proportion to `weights` that add up to `total` (largest remainders)."""
    exact = weights / weights.sum() * total
    whole: np.ndarray = np.floor(exact).astype(np.int64)
    short = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:short]] += 1
    return whole


def _scaled(counts: np.ndarray, settings: GeneratorSettings) -> np.ndarray:
    """Scale the listed counts to the requested number of products; every category keeps at least one."""
    if settings.products == 0:
        return counts
    if settings.products < len(counts):
        raise InputError(
            f"generated.products = {settings.products} is fewer than the {len(counts)} categories of {settings.counts}",
            "request more products, or 0 to keep the counts as they are",
        )
    return 1 + _apportion(counts.astype(np.float64), settings.products - len(counts))


@dataclass(frozen=True)
class _Draw:
    """Categories to draw from in proportion to their sizes: positions, ascending, and the total size before each."""

    places: np.ndarray
    before: np.ndarray

    def other_than(self, place: int, rng: np.random.Generator) -> int:
        """Draw a category other than `place`."""
        at = int(np.searchsorted(self.places, place))
        start, size = self.before[at], self.before[at + 1] - self.before[at]
        drawn = rng.integers(self.before[-1] - size)
        drawn += size if drawn >= start else 0
        return int(self.places[np.searchsorted(self.before, drawn, side="right") - 1])


def _mislabel(
    truth: np.ndarray, categories: tuple[DrawnCategory, ...], share: float, rng: np.random.Generator
) -> np.ndarray:
    """Give a share of the products another category's label, as people do: mostly a popular one close by.

    No category with at least `SMALLEST` products falls below that number.
    """
    labels = truth.copy()
    if len(categories) < 2:
        return labels
    wanted = rng.binomial(len(truth), share)
    sizes = np.array([category.size for category in categories])
    homes = np.array([category.levels[0] for category in categories])
    anywhere = _Draw(np.arange(len(sizes)), np.concatenate([[0], np.cumsum(sizes)]))
    near = {}
    for home in set(homes):
        places = np.flatnonzero(homes == home)
        near[home] = _Draw(places, np.concatenate([[0], np.cumsum(sizes[places])]))
    left = sizes.copy()
    for product in rng.permutation(len(truth)):
        if wanted == 0:
            break
        true = truth[product]
        if left[true] <= (SMALLEST if sizes[true] >= SMALLEST else 1):
            continue
        at_home = near[homes[true]]
        source = at_home if len(at_home.places) > 1 and rng.random() < NEAR_MISTAKES else anywhere
        wrong = source.other_than(true, rng)
        labels[product] = wrong
        left[true] -= 1
        left[wrong] += 1
        wanted -= 1
    return labels
