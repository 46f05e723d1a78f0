"""How fast each library multiplies what a 2NN of 4,096 units multiplies, in float32 and in bfloat16, on this CPU.

python tests/benchmarks/products.py results/performance/products.json

Needs the packages of the extra `test`; takes a minute. Every library is asked in a process of its own, on one thread,
and the seconds are those of the processor, so that other work on the machine changes them little. Medians of `TURNS`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np

from shelfbench.base.storage import write_json

# The products of a step on 256 bottlenecks of 1,280 features (m, k, n; which matrix is transposed).
SHAPES = {
    "first layer": (256, 1280, 2048, ""),
    "second layer": (256, 2048, 2048, ""),
    "gradient of the first": (1280, 256, 2048, "left"),
    "gradient of the second": (2048, 256, 2048, "left"),
    "back through the second": (256, 2048, 2048, "right"),
}
TURNS, WARM_UP = 15, 3

Make = Callable[[np.ndarray, np.ndarray, str, str], Callable[[], object]]


def in_numpy(left: np.ndarray, right: np.ndarray, transposed: str, precision: str) -> Callable[[], object]:
    left = left.T if transposed == "left" else left
    right = right.T if transposed == "right" else right
    out = np.empty((left.shape[0], right.shape[1]), np.float32)
    return lambda: np.matmul(left, right, out=out)


def in_tensorflow(left: np.ndarray, right: np.ndarray, transposed: str, precision: str) -> Callable[[], object]:
    import tensorflow as tf

    a, b = tf.cast(left, precision), tf.cast(right, precision)
    multiply = tf.function(
        lambda a, b: tf.matmul(a, b, transpose_a=transposed == "left", transpose_b=transposed == "right")
    )
    return lambda: multiply(a, b)


def in_pytorch(left: np.ndarray, right: np.ndarray, transposed: str, precision: str) -> Callable[[], object]:
    import torch

    torch.set_num_threads(1)
    a, b = (torch.tensor(matrix).to(getattr(torch, precision)) for matrix in (left, right))
    a, b = a.T if transposed == "left" else a, b.T if transposed == "right" else b
    return lambda: torch.matmul(a, b)


def in_jax(left: np.ndarray, right: np.ndarray, transposed: str, precision: str) -> Callable[[], object]:
    import jax

    a, b = (jax.numpy.asarray(matrix, precision) for matrix in (left, right))
    multiply = jax.jit(lambda a, b: (a.T if transposed == "left" else a) @ (b.T if transposed == "right" else b))
    return lambda: multiply(a, b).block_until_ready()


def in_openvino(left: np.ndarray, right: np.ndarray, transposed: str, precision: str) -> Callable[[], object]:
    from shelfbench_deep.engines.openvino import library

    ov = library()
    ops, kind = ov.opset13, {"float32": ov.Type.f32, "bfloat16": ov.Type.bf16}[precision]
    inputs = [ops.parameter(matrix.shape, kind) for matrix in (left, right)]
    model = ov.Model([ops.matmul(*inputs, transposed == "left", transposed == "right")], inputs, "product")
    hints = {
        "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }
    compiled = ov.Core().compile_model(model, "CPU", hints)
    kept.append(compiled)
    request = compiled.create_infer_request()
    for number, matrix in enumerate((left, right)):
        tensor = ov.Tensor(kind, ov.Shape(matrix.shape))
        if precision == "float32":
            tensor.data[...] = matrix
        else:  # NumPy has no bfloat16: the upper half of a float32 is one
            tensor.data.view(np.uint16)[...] = matrix.view(np.uint32) >> 16
        request.set_input_tensor(number, tensor)
    return request.infer


LIBRARIES: dict[str, tuple[Make, tuple[str, ...]]] = {
    "NumPy": (in_numpy, ("float32",)),
    "TensorFlow": (in_tensorflow, ("float32", "bfloat16")),
    "PyTorch": (in_pytorch, ("float32", "bfloat16")),
    "JAX": (in_jax, ("float32", "bfloat16")),
    "OpenVINO": (in_openvino, ("float32", "bfloat16")),
}
# Compiled models, which must outlive their requests.
kept: list[object] = []


def measure(library: str, precision: str) -> dict[str, object]:
    """GFLOP/s of every shape, and of all together."""
    from threadpoolctl import threadpool_limits

    random, rates, operations, seconds = np.random.default_rng(0), {}, 0.0, 0.0
    with threadpool_limits(1):
        for name, (m, k, n, transposed) in SHAPES.items():
            left = random.random((k, m) if transposed == "left" else (m, k), np.float32)
            right = random.random((n, k) if transposed == "right" else (k, n), np.float32)
            multiply = LIBRARIES[library][0](left, right, transposed, precision)
            for _ in range(WARM_UP):
                multiply()
            times = []
            for _ in range(TURNS):
                begun = process_time()
                multiply()
                times.append(process_time() - begun)
            rates[name] = 2e-9 * m * k * n / float(np.median(times))
            operations, seconds = operations + 2e-9 * m * k * n, seconds + float(np.median(times))
    return {"library": library, "precision": precision, "gflops": operations / seconds, "by_shape": rates}


def main(record: Path) -> None:
    found = []
    for library, (_, precisions) in LIBRARIES.items():
        for precision in precisions:
            words = [sys.executable, __file__, library, precision]
            limits = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
            limits["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
            done = subprocess.run(
                words, env={**os.environ, **limits}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
            )
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{library:12} {precision:9} {found[-1]['gflops']:5.0f} GFLOP/s on one core", flush=True)
    write_json(record, found)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
