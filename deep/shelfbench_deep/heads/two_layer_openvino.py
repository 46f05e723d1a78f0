"""The 2NN's training on a CPU that multiplies bfloat16 faster: a whole step as one graph of OpenVINO.

The steps are those of `shelfbench_deep.heads.two_layer_cpu`. Weights, their velocities, batch normalisation and the
cost stay in float32; in bfloat16, matrices are rounded before they are multiplied and so are the products. OpenVINO
joins what lies between the products into few passes over the memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from shelfbench.base.errors import RunError, first_line
from shelfbench_deep.engines.openvino import library
from shelfbench_deep.heads.two_layer_cpu import EPSILON, blas_threads
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# Names of a step's inputs and outputs besides the weights.
_FEATURES, _LABELS, _KEPT, _RATE, _COST, _RIGHT = "features", "labels", "kept", "rate", "cost", "right"


class _Normalised(NamedTuple):
    """What the way back through an affine operation needs of the way forward."""

    unit: Any
    slope: Any
    gain: float


class _Graph:
    """One update of the network, from features, labels and weights to the new weights.

    Parameters
    ----------
    arrays : dict of str to ndarray of float32
        The network's weights by Keras' path.
    settings : TwoLayerSettings
    statistics : float
        Share that the running mean and variance of batch normalisation keep at an update.
    batch : int
    bfloat16 : bool
        Whether to multiply in bfloat16.
    """

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        settings: TwoLayerSettings,
        statistics: float,
        *,
        batch: int,
        bfloat16: bool,
    ) -> None:
        ops = library().opset13
        self._ops, self._batch, self._statistics, self._bfloat16 = ops, batch, statistics, bfloat16
        self._momentum = settings.momentum
        self._state = {name: ops.parameter(array.shape, np.float32, name=name) for name, array in arrays.items()}
        trained = [name for name in arrays if not name.rpartition("/")[2].startswith("moving_")]
        if settings.momentum:
            self._state |= {
                _velocity(name): ops.parameter(arrays[name].shape, np.float32, name=_velocity(name)) for name in trained
            }
        dimensions, width = arrays["hidden1/kernel"].shape
        self._inputs = {
            _FEATURES: ops.parameter((batch, dimensions), np.float32, name=_FEATURES),
            _LABELS: ops.parameter((batch,), np.int32, name=_LABELS),
            _RATE: ops.parameter((), np.float32, name=_RATE),
        }
        if settings.dropout:
            self._inputs[_KEPT] = ops.parameter((batch, width), np.uint8, name=_KEPT)
        self._outputs: dict[str, Any] = {}
        self._update(settings, arrays["logits/kernel"].shape[1])

    def model(self) -> Any:
        """Return the whole as a model, whose outputs are what changes of the state, the cost and the accuracy."""
        results = [self._ops.result(value, name=f"new {name}") for name, value in self._outputs.items()]
        return library().Model(results, [*self._inputs.values(), *self._state.values()], "two_layer")

    def names(self) -> tuple[list[str], list[str]]:
        """Names of the inputs and of the outputs, in the model's order."""
        return [*self._inputs, *self._state], list(self._outputs)

    def _update(self, settings: TwoLayerSettings, classes: int) -> None:
        ops = self._ops
        features = self._inputs[_FEATURES]
        first, saved1 = self._affine(
            "hidden1", self._product(features, self._kernel("hidden1")), 1 / (1 - settings.dropout)
        )
        inputs = ops.relu(first)
        if settings.dropout:
            inputs = ops.multiply(inputs, ops.convert(self._inputs[_KEPT], np.float32))
        second, saved2 = self._affine("hidden2", self._product(inputs, self._kernel("hidden2")))
        outputs = ops.relu(second)
        logits, saved3 = self._affine("logits", self._product(outputs, self._kernel("logits")))
        step = self._cost(logits, classes)
        step = self._back("logits", step, saved3)
        passed = self._product(step, self._kernel("logits"), right_transposed=True)
        self._learn_kernel("logits", outputs, step)
        step = self._back("hidden2", self._where_positive(passed, outputs), saved2)
        passed = self._product(step, self._kernel("hidden2"), right_transposed=True)
        self._learn_kernel("hidden2", inputs, step)
        step = self._back("hidden1", self._where_positive(passed, inputs), saved1)
        self._learn_kernel("hidden1", features, step)

    def _kernel(self, layer: str) -> Any:
        return self._state[f"{layer}/kernel"]

    def _number(self, value: float | np.floating) -> Any:
        return self._ops.constant(np.float32(value))

    def _product(self, left: Any, right: Any, *, left_transposed: bool = False, right_transposed: bool = False) -> Any:
        ops = self._ops
        if not self._bfloat16:
            return ops.matmul(left, right, left_transposed, right_transposed)
        left, right = (ops.convert(matrix, "bf16") for matrix in (left, right))
        return ops.convert(ops.matmul(left, right, left_transposed, right_transposed), np.float32)

    def _over_rows(self, value: Any) -> Any:
        return self._ops.reduce_sum(value, np.array([0]), False)

    def _affine(self, layer: str, product: Any, gain: float = 1.0) -> tuple[Any, _Normalised]:
        """Apply batch normalisation, or the bias, then `gain`."""
        ops = self._ops
        bias = self._state[f"{layer}/bias"]
        if f"{layer}_bn/gamma" not in self._state:
            return ops.multiply(ops.add(product, bias), self._number(gain)), _Normalised(None, None, gain)
        share = self._number(1 / self._batch)
        mean = ops.multiply(self._over_rows(product), share)
        centred = ops.subtract(product, mean)
        variance = ops.multiply(self._over_rows(ops.multiply(centred, centred)), share)
        # the bias, which normalising removes again, is never trained: its gradient is 0
        for name, new in (("moving_mean", ops.add(mean, bias)), ("moving_variance", variance)):
            kept = self._state[f"{layer}_bn/{name}"]
            change = ops.multiply(ops.subtract(new, kept), self._number(1 - self._statistics))
            self._outputs[f"{layer}_bn/{name}"] = ops.add(kept, change)
        inverse = ops.divide(self._number(1), ops.sqrt(ops.add(variance, self._number(EPSILON))))
        unit = ops.multiply(centred, inverse)
        gamma, beta = (self._state[f"{layer}_bn/{name}"] for name in ("gamma", "beta"))
        out = ops.multiply(ops.add(ops.multiply(unit, gamma), beta), self._number(gain))
        return out, _Normalised(unit, ops.multiply(gamma, inverse), gain)

    def _back(self, layer: str, step: Any, saved: _Normalised) -> Any:
        """Turn the step of an affine operation's outputs into that of its product; train its own weights."""
        ops = self._ops
        step = ops.multiply(step, self._number(saved.gain))
        total = self._over_rows(step)
        if saved.unit is None:
            self._learn(f"{layer}/bias", total)
            return step
        along = self._over_rows(ops.multiply(step, saved.unit))
        self._learn(f"{layer}_bn/gamma", along)
        self._learn(f"{layer}_bn/beta", total)
        share = self._number(1 / self._batch)
        spread = ops.add(ops.multiply(saved.unit, ops.multiply(along, share)), ops.multiply(total, share))
        return ops.multiply(ops.subtract(step, spread), saved.slope)

    def _where_positive(self, step: Any, outputs: Any) -> Any:
        """Stop a step where ReLU or dropout did not let the output pass."""
        ops = self._ops
        return ops.multiply(step, ops.convert(ops.greater(outputs, self._number(0)), np.float32))

    def _learn_kernel(self, layer: str, inputs: Any, step: Any) -> None:
        self._learn(f"{layer}/kernel", self._product(inputs, step, left_transposed=True))

    def _learn(self, name: str, change: Any) -> None:
        """Move weights by `change`, -learning_rate times their gradient, and by their momentum."""
        ops = self._ops
        if self._momentum:
            before = ops.multiply(self._state[_velocity(name)], self._number(self._momentum))
            change = self._outputs[_velocity(name)] = ops.add(before, change)
        self._outputs[name] = ops.add(self._state[name], change)

    def _cost(self, logits: Any, classes: int) -> Any:
        """Record the mean cost and the share of right predictions; return the step of the logits."""
        ops, labels = self._ops, self._inputs[_LABELS]
        one, zero, along = self._number(1), self._number(0), np.array([1])
        own = ops.one_hot(labels, ops.constant(np.int32(classes)), one, zero, 1)
        shifted = ops.subtract(logits, ops.reduce_max(logits, along, True))
        powers = ops.exp(shifted)
        total = ops.reduce_sum(powers, along, True)
        cost = ops.subtract(ops.log(total), ops.reduce_sum(ops.multiply(shifted, own), along, True))
        self._outputs[_COST] = ops.reduce_mean(cost, np.array([0, 1]), False)
        best = ops.topk(logits, ops.constant(np.int32(1)), 1, "max", "none", index_element_type="i32").output(1)
        right = ops.equal(ops.squeeze(best, along), labels)
        self._outputs[_RIGHT] = ops.reduce_mean(ops.convert(right, np.float32), np.array([0]), False)
        error = ops.subtract(ops.divide(powers, total), own)
        return ops.multiply(error, self._inputs[_RATE])


class OpenVINOTraining:
    """A 2NN in training; what `shelfbench_deep.heads.two_layer_cpu.CPUTraining` does.

    Parameters
    ----------
    arrays : dict of str to ndarray of float32
        The network's weights by Keras' path; copied.
    settings : TwoLayerSettings
    statistics : float
        Share that the running mean and variance of batch normalisation keep at an update.
    seed : int
        Of dropout, which is drawn in steps of 1/65,536.
    precision : {"float32", "bfloat16"}
        Of the matrix products.

    Attributes
    ----------
    updates : int
    """

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        settings: TwoLayerSettings,
        *,
        statistics: float,
        seed: int,
        precision: str,
    ) -> None:
        self.updates = 0
        self._settings, self._statistics, self._precision = settings, statistics, precision
        self._random = np.random.default_rng([seed, 0])
        self._start = {name: np.array(array, np.float32, order="C") for name, array in arrays.items()}
        self._requests: list[Any] = []
        self._banks: list[dict[str, Any]] = []

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The network's weights by Keras' path, as the last update left them; valid until the next."""
        if not self._banks:
            return self._start
        bank = self._banks[self.updates % 2]
        return {name: bank[name].data for name in self._start}

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
            Rows of each step; the batch is the same in all epochs.
        done : callable
            Called after each step.

        Returns
        -------
        loss : float
            Mean over the steps, of the network before each, with dropout on.
        accuracy : float
            Mean accuracy over the steps, likewise.

        Raises
        ------
        RunError
            If OpenVINO cannot compute on this machine.
        """
        if not self._requests:
            self._compile(order.shape[1])
        costs = np.zeros(2)
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._fill, self.updates, take, labels, order[0])
            for following in itertools.islice(itertools.chain(order, [None]), 1, None):
                coming.result()
                request = self._requests[self.updates % 2]
                if following is not None:
                    coming = pool.submit(self._fill, self.updates + 1, take, labels, following)
                request.infer()
                bank = self._banks[(self.updates + 1) % 2]
                costs += float(bank[_COST].data), float(bank[_RIGHT].data)
                self.updates += 1
                done()
        loss, accuracy = costs / len(order)
        return float(loss), float(accuracy)

    def _compile(self, batch: int) -> None:
        """Compile a step twice over: weights go from one bank of arrays to the other, and back in the next step."""
        ov = library()
        graph = _Graph(
            self._start, self._settings, self._statistics, batch=batch, bfloat16=self._precision == "bfloat16"
        )
        hints = {
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
            "INFERENCE_NUM_THREADS": blas_threads(),
            "NUM_STREAMS": 1,
            # a thread may leave a core that other work has taken
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._compiled = ov.Core().compile_model(graph.model(), "CPU", hints)
        except Exception as error:  # OpenVINO has no class of errors of its own
            raise RunError(
                f"OpenVINO cannot train the 2NN ({first_line(error)})", "set two_layer.engine=numpy"
            ) from error
        self._requests = [self._compiled.create_infer_request() for _ in range(2)]
        names = graph.names()
        self._banks = [{}, {}]
        for number in range(2):
            for name, port in zip(names[0], self._compiled.inputs, strict=True):
                self._banks[number][name] = ov.Tensor(port.get_element_type(), port.get_shape())
            for name in (_COST, _RIGHT):
                self._banks[number][name] = ov.Tensor(ov.Type.f32, ov.Shape([]))
        for name, tensor in itertools.chain(*(bank.items() for bank in self._banks)):
            tensor.data[...] = self._start.get(name, 0)  # velocities start at 0
        for number, request in enumerate(self._requests):
            for place, name in enumerate(names[0]):
                request.set_input_tensor(place, self._banks[number][name])
            for place, name in enumerate(names[1]):
                request.set_output_tensor(place, self._banks[1 - number][name])

    def _fill(
        self, update: int, take: Callable[[np.ndarray], np.ndarray], labels: np.ndarray, rows: np.ndarray
    ) -> None:
        """Put a batch where the request of an update reads it."""
        bank = self._banks[update % 2]
        bank[_FEATURES].data[...] = take(rows)
        bank[_LABELS].data[...] = labels[rows]
        bank[_RATE].data[...] = -self._settings.rate(update) / len(rows)
        if _KEPT in bank:
            kept = bank[_KEPT].data
            drawn = np.frombuffer(self._random.bytes(2 * kept.size), np.uint16).reshape(kept.shape)
            np.greater_equal(drawn, round(self._settings.dropout * 2**16), out=kept.view(bool))


def _velocity(name: str) -> str:
    return f"velocity of {name}"
