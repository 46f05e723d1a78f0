"""What a shop may already have: an ONNX file, a table of embeddings, and timm's weights in Hugging Face's cache.

    python -m tests.benchmarks.any_network DIR

writes ``network.onnx`` (EfficientNet-Lite0, exported as PyTorch does by default: no word about its preprocessing),
``embeddings.parquet`` (EfficientNet-Lite2 at 160 px on the photos of ``fashion``, resized by Pillow, computed by
OpenVINO) and ``hub`` (the weights of EfficientNet-Lite2 as ``HF_HUB_CACHE=DIR/hub`` serves them to timm where the hub
cannot be reached), all with ImageNet weights. The study ``any_network.toml`` beside this file puts each in a row of
Table 4.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from shelfbench_deep.engines.openvino import library
from tests.helpers.lite_weights import timm_lite, timm_lite_weights

PIXELS = 160
BATCH = 64


def export(number: int, pixels: int, path: Path) -> None:
    """Export EfficientNet-Lite `number` up to its pooled features, for batches of any size."""
    import torch

    torch.onnx.export(
        timm_lite(number),
        (torch.zeros(1, 3, pixels, pixels),),
        str(path),
        input_names=["input"],
        output_names=["features"],
        dynamic_axes={"input": {0: "batch"}, "features": {0: "batch"}},
        dynamo=False,
    )


def embed(network: Path, table: Path) -> None:
    """Write the embeddings of all products of ``fashion``, keyed by product."""
    model = library().Core().read_model(str(network))
    compute = library().Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    source = Path(os.environ["SHELFBENCH_DATA"]) / "fashion"
    schema = pa.schema([("product_id", pa.int64()), ("embedding", pa.list_(pa.float16()))])
    with pq.ParquetWriter(table, schema) as writer:
        for shard in sorted(source.glob("*.parquet")):
            for batch in pq.ParquetFile(shard).iter_batches(BATCH, columns=["id", "image"]):
                photos = [Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in batch["image"].to_pylist()]
                squares = np.stack([np.asarray(photo.resize((PIXELS, PIXELS)), np.float32) for photo in photos])
                inputs = ((squares - 127) / 128).transpose(0, 3, 1, 2)
                features = compute(np.ascontiguousarray(inputs))[0]
                rows = pa.array(list(features.astype(np.float16)), pa.list_(pa.float16()))
                writer.write_table(pa.table([batch["id"], rows], schema=schema))


def serve(number: int, folder: Path) -> None:
    """Write the weights where Hugging Face's cache would have them."""
    from safetensors.numpy import save_file

    revision = "0" * 40
    place = folder / f"models--timm--tf_efficientnet_lite{number}.in1k"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(revision)
    snapshot = place / "snapshots" / revision
    snapshot.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in timm_lite_weights(number).items()}
    save_file(arrays, snapshot / "model.safetensors")


def main(folder: Path) -> None:
    """Write everything into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    export(0, 128, folder / "network.onnx")
    serve(2, folder / "hub")
    export(2, PIXELS, folder / "lite2.onnx")
    embed(folder / "lite2.onnx", folder / "embeddings.parquet")
    (folder / "lite2.onnx").unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
