"""The 2NN's training on a CPU, in NumPy: the same steps as Keras, at the speed of the machine's matrix product.

Each thread owns some units of both hidden layers. It computes them from the product to the dropout, forward and back,
while they are in its cache, and adds each gradient to its weights as it arrives, a tile at a time: a step moves little
more memory than its products have to. Gradients carry the factor -learning_rate from the start, so that an update is a
sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings

# Keras' BatchNormalization adds this to a variance.
EPSILON = np.float32(1e-3)
# Numbers of a gradient computed at once: 2 MiB, which are still in the cache when they are added.
_TILE = 1 << 19
# Minimum number of units per thread; with fewer, waiting for the others costs more than they save.
_LEAST = 64


Result = TypeVar("Result")


def blas_threads() -> int:
    """Count the threads that NumPy's matrix products would use."""
    blas = ThreadpoolController().select(user_api="blas")
    return max((library["num_threads"] for library in blas.info()), default=1)


class Weights:
    """The weights of a network and, with momentum, their velocities.

    Parameters
    ----------
    arrays : dict of str to ndarray of float32
        By Keras' path (``hidden1/kernel``, ``hidden1_bn/gamma``, ...); copied.
    momentum : float
    """

    def __init__(self, arrays: dict[str, np.ndarray], momentum: float) -> None:
        self.arrays = {name: np.array(array, np.float32, order="C") for name, array in arrays.items()}
        self._momentum = np.float32(momentum)
        self._velocities = {name: np.zeros_like(array) for name, array in self.arrays.items()} if momentum else {}

    def add(self, name: str, where: slice | tuple[slice, slice], change: np.ndarray) -> None:
        """Move some weights by `change`, -learning_rate times their gradient, and by their momentum."""
        if self._velocities:
            velocity = self._velocities[name][where]
            velocity *= self._momentum
            change = np.add(velocity, change, out=velocity)
        self.arrays[name][where] += change

    def add_product(self, name: str, where: tuple[slice, slice], inputs: np.ndarray, steps: np.ndarray) -> None:
        """Move some weights by ``inputs.T @ steps``, of which only one tile exists at a time."""
        first, last = where[0].indices(len(self.arrays[name]))[:2]
        height = max(1, _TILE // steps.shape[1])
        for start in range(first, last, height):
            rows = slice(start, min(start + height, last))
            self.add(name, (rows, where[1]), inputs[:, start - first : rows.stop - first].T @ steps)


class _Affine:
    """The operation after a matrix product for some of its units: batch normalisation, or the bias; times `gain`."""

    def __init__(self, weights: Weights, name: str, units: slice, statistics: float, gain: float = 1.0) -> None:
        self._weights, self._name, self._units = weights, name, units
        self._normalised = f"{name}_bn/gamma" in weights.arrays
        self._statistics, self._gain = np.float32(statistics), np.float32(gain)
        self._inverse = self._slope = np.ones(0, np.float32)

    def forward(self, product: np.ndarray, out: np.ndarray) -> None:
        """Compute outputs from `product`, shape (batch, units), which is centred in place where it is normalised."""
        get, gain = self._get, self._gain
        if not self._normalised:
            np.multiply(product + get("/bias"), gain, out=out)
            return
        mean = product.mean(axis=0)
        product -= mean
        variance = np.einsum("ij,ij->j", product, product) / np.float32(len(product))
        # the bias, which normalising removes again, is never trained: its gradient is 0
        for name, new in (("_bn/moving_mean", mean + get("/bias")), ("_bn/moving_variance", variance)):
            kept = get(name)
            kept += (new - kept) * (1 - self._statistics)
        self._inverse = 1 / np.sqrt(variance + EPSILON)
        self._slope = gain * get("_bn/gamma") * self._inverse
        np.multiply(product, self._slope, out=out)
        out += gain * get("_bn/beta")

    def backward(self, step: np.ndarray, product: np.ndarray, out: np.ndarray) -> None:
        """Compute the step of the product from the step of the outputs; all three arrays may be overwritten."""
        gain, total = self._gain, step.sum(axis=0)
        if not self._normalised:
            self._weights.add(f"{self._name}/bias", self._units, gain * total)
            np.multiply(step, gain, out=out)
            return
        along = np.einsum("ij,ij->j", step, product) * self._inverse
        product *= along * self._inverse / np.float32(len(step))
        step -= product
        step -= total / np.float32(len(step))
        np.multiply(step, self._slope, out=out)
        self._weights.add(f"{self._name}_bn/gamma", self._units, gain * along)
        self._weights.add(f"{self._name}_bn/beta", self._units, gain * total)

    def _get(self, name: str) -> np.ndarray:
        return self._weights.arrays[self._name + name][self._units]


class _Units:
    """Some units of both hidden layers, which one thread trains.

    Whole arrays are shared: `inputs` of the second layer, (batch, width), and `steps` of its products, likewise. Each
    thread writes its own units and reads all; the caller makes sure that all have been written before.
    """

    def __init__(self, weights: Weights, settings: TwoLayerSettings, statistics: float, units: slice, seed: list[int]):
        self.units = units
        self._weights = weights
        self._random = np.random.default_rng(seed)
        # outputs with 16-bit numbers below this are dropped; the factor of dropout is part of the layer's gain
        self._dropped = round(settings.dropout * 2**16)
        self._first = _Affine(weights, "hidden1", units, statistics, 1 / (1 - settings.dropout))
        self._second = _Affine(weights, "hidden2", units, statistics)
        self._product1, self._product2, self._outputs, self._step = (np.zeros((0, 0), np.float32),) * 4

    def first(self, features: np.ndarray, inputs: np.ndarray) -> None:
        """Compute these units' inputs of the second layer from features."""
        shape = (len(features), self.units.stop - self.units.start)
        if self._step.shape != shape:
            self._product1, self._product2, self._outputs, self._step = (np.empty(shape, np.float32) for _ in range(4))
        np.matmul(features, self._weights.arrays["hidden1/kernel"][:, self.units], out=self._product1)
        self._first.forward(self._product1, self._outputs)
        if self._dropped:
            drawn = np.frombuffer(self._random.bytes(2 * self._outputs.size), np.uint16).reshape(shape)
            self._outputs *= drawn >= self._dropped
        np.maximum(self._outputs, 0, out=inputs[:, self.units])

    def second(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the share of these units in the logits from the second layer's inputs."""
        arrays = self._weights.arrays
        np.matmul(inputs, arrays["hidden2/kernel"][:, self.units], out=self._product2)
        self._second.forward(self._product2, self._outputs)
        np.maximum(self._outputs, 0, out=self._outputs)
        return self._outputs @ arrays["logits/kernel"][self.units]

    def back_second(self, step: np.ndarray, steps: np.ndarray) -> None:
        """Compute the step of these units' products in the second layer from that of the logits' products."""
        np.matmul(step, self._weights.arrays["logits/kernel"][self.units].T, out=self._step)
        self._weights.add_product("logits/kernel", (self.units, slice(None)), self._outputs, step)
        self._step *= self._outputs > 0
        self._second.backward(self._step, self._product2, steps[:, self.units])

    def back_first(self, features: np.ndarray, inputs: np.ndarray, steps: np.ndarray) -> None:
        """Train the weights out of and into these units of the first layer."""
        np.matmul(steps, self._weights.arrays["hidden2/kernel"][self.units].T, out=self._step)
        own = inputs[:, self.units]
        self._weights.add_product("hidden2/kernel", (self.units, slice(None)), own, steps)
        self._step *= own > 0  # where dropout and ReLU let it pass
        self._first.backward(self._step, self._product1, self._step)
        self._weights.add_product("hidden1/kernel", (slice(None), self.units), features, self._step)


class CPUTraining:
    """A 2NN in training.

    Parameters
    ----------
    arrays : dict of str to ndarray of float32
        The network's weights by Keras' path; copied.
    settings : TwoLayerSettings
    statistics : float
        Share that the running mean and variance of batch normalisation keep at an update.
    seed : int
        Of dropout, which is drawn in steps of 1/65,536.

    Attributes
    ----------
    weights : Weights
        As the last update left them.
    updates : int
    """

    def __init__(
        self, arrays: dict[str, np.ndarray], settings: TwoLayerSettings, *, statistics: float, seed: int
    ) -> None:
        self.weights = Weights(arrays, settings.momentum)
        self.updates = 0
        self._settings = settings
        self._blas = ThreadpoolController().select(user_api="blas")
        self._threads = blas_threads()
        width = len(self.weights.arrays["hidden2/kernel"])
        count = max(1, min(self._threads, width // _LEAST))
        edges = [width * number // count for number in range(count + 1)]
        self._owned = [
            _Units(self.weights, settings, statistics, slice(*pair), [seed, number])
            for number, pair in enumerate(itertools.pairwise(edges))
        ]
        self._last = _Affine(self.weights, "logits", slice(None), statistics)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The network's weights by Keras' path, as the last update left them; valid until the next."""
        return self.weights.arrays

    def epoch(
        self,
        take: Callable[[np.ndarray], np.ndarray],
        labels: np.ndarray,
        order: np.ndarray,
        done: Callable[[], object],
    ) -> tuple[float, float]:
        """Take a step for each row of `order`.

        Parameters
        ----------
        take : callable
            Returns rows of the features, standardised: float32, shape (batch, d). Called in another thread.
        labels : ndarray of int, shape (n,)
        order : ndarray of int, shape (steps, batch)
            Rows of each step.
        done : callable
            Called after each step.

        Returns
        -------
        loss : float
            Mean over the steps, of the network before each, with dropout on.
        accuracy : float
            Mean accuracy over the steps, likewise.
        """
        width = len(self.weights.arrays["hidden2/kernel"])
        space = tuple(np.empty((order.shape[1], width), np.float32) for _ in range(2))
        costs = np.zeros(2)
        with (
            self._blas.limit(limits=1),
            ThreadPoolExecutor(self._threads) as pool,
        ):  # BLAS' own threads would take the cores
            coming = pool.submit(take, order[0])
            for rows, following in itertools.zip_longest(order, order[1:]):
                features = coming.result()
                if following is not None:
                    coming = pool.submit(take, following)
                costs += self._step(pool, features, labels[rows], *space)
                done()
        loss, accuracy = costs / len(order)
        return float(loss), float(accuracy)

    def _step(
        self, pool: Executor, features: np.ndarray, labels: np.ndarray, inputs: np.ndarray, steps: np.ndarray
    ) -> tuple[float, float]:
        """Update once; return the cost and the share of correct predictions before the update."""
        self._each(pool, lambda units: units.first(features, inputs))
        shares = self._each(pool, lambda units: units.second(inputs))
        step, cost, right = self._output(shares, labels)
        self._each(pool, lambda units: units.back_second(step, steps))
        self._each(pool, lambda units: units.back_first(features, inputs, steps))
        self.updates += 1
        return cost, right

    def _output(self, shares: list[np.ndarray], labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Step of the logits' products, the cost and the share of correct predictions."""
        logits, rows, count = sum(shares[1:], start=shares[0]), np.arange(len(labels)), len(labels)
        with np.errstate(all="ignore"):
            scores = np.empty_like(logits)
            self._last.forward(logits, scores)
            right = np.count_nonzero(scores.argmax(axis=1) == labels)
            scores -= scores.max(axis=1, keepdims=True)
            own = scores[rows, labels]
            np.exp(scores, out=scores)
            total = scores.sum(axis=1, keepdims=True)
            cost = np.log(total[:, 0]) - own
            scores /= total
            scores[rows, labels] -= 1
            scores *= np.float32(-self._settings.rate(self.updates) / count)
            self._last.backward(scores, logits, scores)
        return scores, float(cost.mean(dtype=np.float64)), right / count

    def _each(self, pool: Executor, work: Callable[[_Units], Result]) -> list[Result]:
        """Do the work of all threads, that of the first in this one, and wait for all."""

        def quietly(units: _Units) -> Result:
            with np.errstate(all="ignore"):  # a cost that is not finite is reported by the epoch
                return work(units)

        others = [pool.submit(quietly, units) for units in self._owned[1:]]
        return [quietly(self._owned[0]), *(other.result() for other in others)]
