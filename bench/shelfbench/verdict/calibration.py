"""From what a backend claims to how often it is right: calibrators, and the choice among them on `tune`.

All of them come after one temperature (`shelfbench.verdict.temperature`), which is bounded by what so few products can
tell. Isotonic and beta calibration then change the confidence alone, strictly increasingly: no prediction changes, and
no product overtakes another. Vector scaling and leaving the scores alone may change both, and are taken only where that
accepts more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.temperature import BOUNDS, fit_temperature, log_normaliser

CHOICES = ("temperature", "beta", "isotonic", "none", "vector")
"""What `choose_calibrator` compares, the simplest first; the last two may change the order of products."""
FOLDS = 5
# With fewer products than this, cross-validation tells nothing: a fold has no ten.
LEAST = 50
# The most scores (products x categories) that vector scaling is fitted on; it has two numbers per category.
VECTOR_SCORES = 1 << 21
# Log-odds beyond these are not told apart.
_EDGE = 50.0
_PARTS = {"vector": ("factors", "offsets"), "isotonic": ("knots", "odds"), "beta": ("beta",)}


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """How aggregated log-probabilities become the ones that are claimed; it holds nothing but numbers.

    Attributes
    ----------
    method : str
        One of `CHOICES`, or ``unbounded``, the temperature without a bound.
    temperature : float
        Divisor of the log-probabilities; 1 for ``none`` and ``vector``.
    factors, offsets : tuple of float
        ``vector``: of every category, log-softmax(factor * score + offset).
    knots, odds : tuple of float
        ``isotonic``: log-odds of the confidence before, ascending, and after, ascending; straight lines between them,
        and of slope 1 beyond.
    beta : tuple of float
        ``beta``: a, b and m of log-odds = a log(c) - b log(1 - c) + m.
    """

    method: str = "temperature"
    temperature: float = 1.0
    factors: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    odds: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that no fit would give, since a decision may come from anyone.

        Raises
        ------
        ValueError
            If there is one.
        """
        if self.method not in (*CHOICES, "unbounded"):
            raise ValueError(f"there is no calibration {self.method[:40]!r}")
        numbers = (*self.factors, *self.offsets, *self.knots, *self.odds, *self.beta)
        if not all(abs(value) <= 1e6 for value in numbers):
            raise ValueError("a number of the calibration is out of range")
        if not BOUNDS[0] <= self.temperature <= BOUNDS[1]:
            raise ValueError("the temperature is out of range")
        for name in ("factors", "offsets", "knots", "odds", "beta"):
            if bool(getattr(self, name)) != (name in _PARTS.get(self.method, ())):
                raise ValueError(f"calibration {self.method!r} and its {name} do not fit together")
        if len(self.factors) != len(self.offsets) or any(value <= 0 for value in self.factors):
            raise ValueError("vector scaling needs a positive factor and an offset of every category")
        if len(self.knots) != len(self.odds) or any(np.any(np.diff(part) <= 0) for part in (self.knots, self.odds)):
            raise ValueError("the knots of the calibration do not ascend")
        if self.beta and (len(self.beta) != 3 or min(self.beta[:2]) < 0 or not sum(self.beta[:2])):
            raise ValueError("beta calibration needs a and b of at least 0, and m")

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """Apply what changes all categories, except the temperature.

        Parameters
        ----------
        scores : ndarray of float64, shape (n, classes)
            Log-probabilities.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            Log-probabilities; the same array unless this is vector scaling.
        """
        if self.method != "vector":
            return scores
        moved = scores * np.asarray(self.factors) + np.asarray(self.offsets)
        return np.asarray(moved - log_normaliser(moved, 1.0)[:, None])

    def confidence(self, values: np.ndarray) -> np.ndarray:
        """Apply what changes the confidence alone: strictly increasing but for rounding.

        Parameters
        ----------
        values : ndarray of float64, shape (n,)
            Log-probabilities of the predicted categories, after the temperature.

        Returns
        -------
        ndarray of float64, shape (n,)
            Log-probabilities; the same array unless this is isotonic or beta calibration.
        """
        if self.method == "isotonic":
            return _log_share(_lines(log_odds(values), np.asarray(self.knots), np.asarray(self.odds)))
        if self.method == "beta":
            a, b, m = self.beta
            at = log_odds(values)
            return _log_share(a * _log_share(at) - b * _log_share(-at) + m)
        return values


def log_odds(values: np.ndarray) -> np.ndarray:
    """Turn logarithms of probabilities into log-odds, within 50 of 0.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Log-probabilities.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    with np.errstate(divide="ignore"):
        found: np.ndarray = np.clip(values - np.log(-np.expm1(np.minimum(values, 0.0))), -_EDGE, _EDGE)
        return found


def _log_share(odds: np.ndarray) -> np.ndarray:
    """Turn log-odds into logarithms of probabilities."""
    return np.asarray(-np.logaddexp(0.0, -odds))


def _lines(at: np.ndarray, knots: np.ndarray, odds: np.ndarray) -> np.ndarray:
    beyond = np.minimum(at - knots[0], 0) + np.maximum(at - knots[-1], 0)
    return np.asarray(np.interp(at, knots, odds) + beyond)


def fit_bounded_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Find the most likely temperature if about one more of the right products had been wrong.

    Where every product is right, the likelihood grows until every confidence is 1, which no number of products shows.
    So the right ones count as right only (n + 1) / (n + 2) each, as in Platt's scaling (1999, section 2.2), n being how
    many they are: the claims then stay below that. With thousands of products it changes next to nothing.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
        Log-probabilities of products; -inf is allowed.
    labels : ndarray of int, shape (n,)
        Code of the true category; rows of -1 (unknown to training) are skipped.

    Returns
    -------
    float
        From the most likely temperature to 100.
    """
    from scipy.optimize import minimize_scalar

    likely = fit_temperature(scores, labels)
    known = np.flatnonzero(labels >= 0)
    known = known[scores[known, labels[known]] > -np.inf]
    if not len(known) or scores.shape[1] == 1:
        return likely
    kept, own = scores[known], scores[known, labels[known]]
    right = kept.argmax(axis=1) == labels[known]
    share = np.where(right, 1 / (right.sum() + 2), 0.0)

    def loss(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        claimed = own / temperature - log_normaliser(kept, temperature)
        return float(((1 - share) * claimed + share * _log_share(-log_odds(claimed))).sum()) / -len(known)

    bounds = (math.log(likely), math.log(BOUNDS[1]))
    if bounds[1] - bounds[0] < 1e-9:
        return likely
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))


def fit_calibrator(method: str, scores: np.ndarray, labels: np.ndarray) -> Calibrator:
    """Fit one calibrator.

    Parameters
    ----------
    method : str
        One of `CHOICES`, or ``unbounded``.
    scores : ndarray of float64, shape (n, classes)
        Aggregated log-probabilities of products.
    labels : ndarray of int, shape (n,)
        Code of the true category; -1 where training lacks it, where no prediction is right.

    Returns
    -------
    Calibrator
        ``none`` where there is nothing to fit it on.
    """
    if method == "unbounded":
        return Calibrator(method=method, temperature=fit_temperature(scores, labels))
    if method == "none" or not np.any(labels >= 0) or scores.shape[1] == 1:
        return Calibrator(method="none")
    if method == "vector":
        factors, offsets = _vector(scores, labels)
        return Calibrator(method="vector", factors=factors, offsets=offsets)
    plain = Calibrator(temperature=fit_bounded_temperature(scores, labels))
    if method == "temperature":
        return plain
    predicted, values = claims(plain, scores)
    if method == "beta":
        return replace(plain, method="beta", beta=_beta(values, predicted == labels))
    knots, odds = _isotonic(values, predicted == labels)
    return replace(plain, method="isotonic", knots=knots, odds=odds)


def claims(found: Calibrator, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict products.

    Parameters
    ----------
    found : Calibrator
    scores : ndarray of float64, shape (n, classes)
        Aggregated log-probabilities.

    Returns
    -------
    predicted : ndarray of int64, shape (n,)
    confidence : ndarray of float64, shape (n,)
        The calibrated log-probability.
    """
    moved = found.scores(scores)
    values = moved.max(axis=1)
    if found.temperature != 1:
        values = np.minimum(values / found.temperature - log_normaliser(moved, found.temperature), 0.0)
    return moved.argmax(axis=1), found.confidence(values)


def _platt(right: np.ndarray) -> np.ndarray:
    """What to aim at in place of 0 and 1 (Platt, 1999): no number of products shows certainty."""
    good = int(right.sum())
    return np.where(right, (good + 1) / (good + 2), 1 / (len(right) - good + 2))


def _beta(values: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    """Fit beta calibration (Kull, Silva Filho and Flach, 2017), drawn towards changing nothing."""
    from scipy.optimize import minimize

    at, aim = log_odds(values), _platt(right)
    yes, no = _log_share(at), -_log_share(-at)

    def loss(found: np.ndarray) -> float:
        a, b = np.exp(found[:2])
        odds = a * yes + b * no + found[2]
        return float(-(aim * _log_share(odds) + (1 - aim) * _log_share(-odds)).sum() + 0.5 * (found @ found))

    best = minimize(loss, np.zeros(3), method="L-BFGS-B", bounds=[(-4, 4), (-4, 4), (-20, 20)])
    a, b = np.exp(best.x[:2])
    return float(a), float(b), float(best.x[2])


def _isotonic(values: np.ndarray, right: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit isotonic regression, its steps joined at their middles (Oron and Flournoy, 2017).

    Each step counts one product more, which is right as often as the step claims.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(values, kind="stable")
    at, aim = log_odds(values[order]), _platt(right)[order]
    step = np.cumsum(np.diff(isotonic_regression(aim).x, prepend=-1) > 1e-12) - 1
    count = np.bincount(step)
    claimed = np.bincount(step, weights=np.exp(_log_share(at)))
    share = (np.bincount(step, weights=aim) + claimed / count) / (count + 1)
    share, middle = isotonic_regression(share, weights=count).x, np.bincount(step, weights=at) / count
    # steps that fell together by that, or lie at the same confidence, are one
    step = np.cumsum((np.diff(share, prepend=-1) > 1e-9) & (np.diff(middle, prepend=-np.inf) > 1e-9)) - 1
    weight = np.bincount(step, weights=count)
    middle, share = (np.bincount(step, weights=part * count) / weight for part in (middle, share))
    return tuple(middle.tolist()), tuple(log_odds(np.log(share)).tolist())


def _vector(scores: np.ndarray, labels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit vector scaling (Guo et al., 2017), drawn towards one temperature for all categories."""
    from scipy.optimize import minimize

    known, classes = np.flatnonzero(labels >= 0), scores.shape[1]
    values, truth = np.maximum(scores[known], -1e3), labels[known]
    start = np.zeros(2 * classes)
    start[:classes] = -math.log(fit_bounded_temperature(scores, labels))

    def loss(found: np.ndarray) -> tuple[float, np.ndarray]:
        factors, offsets = np.exp(found[:classes]), found[classes:]
        moved = values * factors + offsets
        total = log_normaliser(moved, 1.0)
        change = np.exp(moved - total[:, None])
        change[np.arange(len(truth)), truth] -= 1
        away = found - start
        # standard deviations of 0.25 for the logarithm of a factor and 0.5 for an offset
        pull = np.concatenate([16 * away[:classes], 4 * away[classes:]])
        value = float((total - moved[np.arange(len(truth)), truth]).sum() + 0.5 * (away * pull).sum())
        return value, np.concatenate([(change * values).sum(axis=0) * factors, change.sum(axis=0)]) + pull

    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    return tuple(np.exp(best[:classes]).tolist()), tuple(best[classes:].tolist())


def choose_calibrator(scores: np.ndarray, labels: np.ndarray, seed: int) -> Calibrator:
    """Choose a calibrator by cross-validation in five folds.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
        Aggregated log-probabilities of the products of `tune`.
    labels : ndarray of int, shape (n,)
        Code of the true category; -1 where training lacks it.
    seed : int
        Draws the folds.

    Returns
    -------
    Calibrator
        The bounded temperature, unless another one's claims are more likely by more than one standard error of the
        difference; of these the most likely one. One that may change the order of products must also accept more at a
        precision of 0.9, out of fold. With fewer than 50 products, the bounded temperature.
    """
    if len(labels) < LEAST or scores.shape[1] == 1:
        return fit_calibrator("temperature", scores, labels)
    fold = np.random.default_rng([seed, 3]).permutation(len(labels)) % FOLDS
    first, *others = [name for name in CHOICES if name != "vector" or scores.size <= VECTOR_SCORES]
    loss, accepted = _out_of_fold(first, scores, labels, fold)
    best, least = first, 0.0
    for name in others:
        own, taken = _out_of_fold(name, scores, labels, fold)
        change = own - loss
        helps = taken > accepted or name in ("beta", "isotonic")
        if helps and change.mean() < min(least, -change.std() / math.sqrt(len(change))):
            best, least = name, float(change.mean())
    return fit_calibrator(best, scores, labels)


def _out_of_fold(method: str, scores: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, int]:
    """Return how unlikely it is, by a calibrator that did not see it, that a product is right or wrong as it is.

    And how many products are accepted so at a precision of 0.9.
    """
    right, values = np.empty(len(labels), bool), np.empty(len(labels))
    for number in range(FOLDS):
        held, others = fold == number, np.flatnonzero(fold != number)
        predicted, values[held] = claims(fit_calibrator(method, scores[others], labels[others]), scores[held])
        right[held] = predicted == labels[held]
    odds = log_odds(values)
    return -np.where(right, _log_share(odds), _log_share(-odds)), acceptance(values, right, REQUIRED).accepted
