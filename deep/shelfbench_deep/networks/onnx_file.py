"""A network in an ONNX file: found, checked, and asked what goes in and what comes out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.errors import InputError
from shelfbench_deep.networks.onnx_wire import Graph, Value, read_graph

KINDS = {1: "float32", 2: "uint8", 10: "float16"}
_OTHERS = {3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "text", 9: "bool", 11: "float64"} | {
    16: "bfloat16"
}
LAYOUTS = ("NCHW", "NHWC")
# Loops may never end. Operators beyond ONNX's own are code of someone else: some of those that come with ONNX Runtime
# (com.microsoft) take shapes that they do not check.
_DOMAINS = {"", "ai.onnx"}
_LOOPS = {"Loop", "Scan", "SequenceMap"}
# What ONNX Runtime's optimiser, and Optimum with it, make of several of ONNX's operators.
_FUSED = {
    *("Attention", "BiasGelu", "EmbedLayerNormalization", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "Gelu"),
    *("LayerNormalization", "MultiHeadAttention", "QLinearAdd", "QLinearAveragePool", "QLinearConcat"),
    *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QuickGelu"),
    *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "NhwcFusedConv", "NhwcMaxPool", "ReorderInput"),
    *("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
}
_FIRST_BYTES = {
    b"version https://git-lfs": ("is a placeholder of Git LFS, not the network", "fetch it: git lfs pull"),
    b"PK\x03\x04": ("is an archive (PyTorch's and Keras' files are), not ONNX", "export the network to ONNX"),
    b"\x89HDF": ("is an HDF5 file, not ONNX", "export the network to ONNX"),
    b"<": ("is a web page, not ONNX", "download the file itself"),
    b"{": ("is JSON, not ONNX", "name the file of the network"),
}


@dataclass(frozen=True, kw_only=True)
class OnnxInput:
    """Where photos go in.

    Attributes
    ----------
    name : str
    kind : {"float32", "float16", "uint8"}
    layout : {"NCHW", "NHWC", ""}
        Empty if the file does not tell.
    batch : int or None
        Number of images that it takes at once; None for any.
    pixels : int or None
        Side of an image; None for any.
    """

    name: str
    kind: str
    layout: str
    batch: int | None
    pixels: int | None


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A network in an ONNX file.

    Attributes
    ----------
    path : Path
    graph : Graph
    external : tuple of Path
        Other files that hold its weights.
    """

    path: Path
    graph: Graph
    external: tuple[Path, ...]

    def sha256(self) -> str:
        """Hash the file and those that hold its weights, in hexadecimal; of one file, its SHA-256."""
        digests = []
        for path in (self.path, *self.external):
            with open(path, "rb") as handle:
                digests.append(hashlib.file_digest(handle, "sha256").hexdigest())
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def input(self) -> OnnxInput:
        """Find the input for photos.

        Returns
        -------
        OnnxInput

        Raises
        ------
        InputError
            If there is none, or another input besides.
        """
        inputs = self.graph.inputs
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs[:6]) or "none"
            raise InputError(
                f"{self.path} takes {len(inputs)} inputs ({names}), and shelfbench has photos only",
                "export the part of the network that sees images (the vision tower)",
            )
        [value] = inputs
        if value.kind not in KINDS:
            kind = _OTHERS.get(value.kind, "an unknown type")
            raise InputError(f"{self.path} takes {kind}", f"export it with an input of {', '.join(KINDS.values())}")
        shape = value.shape
        if shape is None or len(shape) != 4:
            raise InputError(
                f"{self.path} takes {_words(value)}, not images of shape (n, 3, side, side) or (n, side, side, 3)",
                "export a network that takes photos",
            )
        layout = _layout(shape)
        rows, columns = (shape[1:3] if layout == "NHWC" else shape[2:4]) if layout else (shape[2], shape[2])
        if isinstance(rows, int) and isinstance(columns, int) and rows != columns:
            raise InputError(f"{self.path} takes images of {rows} x {columns} pixels", "export it for square images")
        sides = [side for side in (rows, columns) if isinstance(side, int)]
        if layout and (channels := shape[1 if layout == "NCHW" else 3]) != 3 and isinstance(channels, int):
            raise InputError(f"{self.path} takes images of {channels} channels", "export it for RGB images")
        return OnnxInput(
            name=value.name,
            kind=KINDS[value.kind],
            layout=layout,
            batch=shape[0] if isinstance(shape[0], int) else None,
            pixels=sides[0] if sides else None,
        )

    def output(self, wanted: str) -> str:
        """Choose the output that holds the features.

        Parameters
        ----------
        wanted : str
            The name that the user gave, of an output or of any value inside the graph; empty to choose.

        Returns
        -------
        str

        Raises
        ------
        InputError
            If there is no such value, or several outputs could be meant.
        """
        outputs = self.graph.outputs
        if wanted:
            if any(wanted in node.outputs for node in self.graph.nodes):
                return wanted
            known = ", ".join(value.name for value in outputs[:8])
            raise InputError(f"{self.path} has no output {wanted!r}", f"its outputs: {known}")
        if not outputs:
            raise InputError(f"{self.path} has no output", "export the network again")
        if len(outputs) == 1:
            return outputs[0].name
        if [value.name for value in outputs].count("image_embeds") == 1:  # CLIP's own name for the picture as a whole
            return "image_embeds"
        listed = ", ".join(f"{value.name}: {_rows(value)}" for value in outputs[:6])
        settings = " or ".join(f"--set onnx.output={value.name}" for value in outputs[:3])
        raise InputError(
            f"{self.path} has {len(outputs)} outputs ({listed})",
            f"say which holds the features, as its maker describes them: {settings}",
        )

    def undecidable(self) -> str:
        """Name an operator that a decision may not contain, as it might never end or is not ONNX's; empty if none."""
        for domain, name in sorted(self.graph.operators):
            if domain not in _DOMAINS or name in _LOOPS:
                return f"{domain[:60]}.{name[:60]}" if domain else name[:60]
        return ""

    def unchecked(self) -> str:
        """Name an operator of ONNX Runtime's own that is not one of those that its optimiser writes; empty if none."""
        for domain, name in sorted(self.graph.operators):
            if domain.startswith("com.microsoft") and name not in _FUSED:
                return f"{domain[:60]}.{name[:60]}"
        return ""

    def below_head(self, output: str) -> str:
        """Find the features that a classifier's last layer takes.

        Parameters
        ----------
        output : str

        Returns
        -------
        str
            Name of the value below the last dense layer; empty if the output is not that of one.
        """
        made = {name: node for node in self.graph.nodes for name in node.outputs}
        node = made.get(output)
        if node is not None and node.op in ("Softmax", "LogSoftmax", "Sigmoid", "Identity", "Cast"):
            node = made.get(node.inputs[0]) if node.inputs else None
        if node is not None and node.op == "Add":
            below = [made[name] for name in node.inputs if name in made]
            node = below[0] if len(below) == 1 else None
        if node is None or node.op not in ("Gemm", "MatMul") or len(node.inputs) < 2:
            return ""
        # of two computed values, none is a layer's weights
        return node.inputs[0] if node.inputs[0] in made and node.inputs[1] not in made else ""


def find_onnx(name: str) -> OnnxFile:
    """Find and check the ONNX file that a backbone's name stands for.

    Parameters
    ----------
    name : str
        A path; ``~`` is the user's home.

    Returns
    -------
    OnnxFile

    Raises
    ------
    InputError
        If it is missing, empty, damaged or of another kind, or its files of weights are.
    """
    return open_onnx(Path(name).expanduser())


def open_onnx(path: Path) -> OnnxFile:
    """Check an ONNX file; see `find_onnx`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    OnnxFile

    Raises
    ------
    InputError
        See `find_onnx`.
    """
    if path.is_dir():
        inside = sorted(entry.name for entry in path.glob("[!.]*.onnx"))
        remedy = f"name a file in it, such as {path / inside[0]}" if inside else "name the file of the network"
        raise InputError(f"{path} is a folder", remedy)
    if not path.is_file():
        where = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
        raise InputError(f"there is no network at {path}{where}", "correct the path, or put it there")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty", "export or download it again")
        with open(path, "rb") as handle:
            start = handle.read(32)
        for first, (problem, remedy) in _FIRST_BYTES.items():
            if start.startswith(first):
                raise InputError(f"{path} {problem}", remedy)
        graph = read_graph(path)
    except ValueError as error:
        raise InputError(f"{path} cannot be read as ONNX: {error}", "export or download it again") from None
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its permissions") from None
    return OnnxFile(path=path, graph=graph, external=_external(path, graph))


def _external(path: Path, graph: Graph) -> tuple[Path, ...]:
    """Check the files that hold weights: beside the graph, and long enough."""
    lengths: dict[str, int] = {}
    for entry in graph.external:
        lengths[entry.location] = max(lengths.get(entry.location, 0), entry.end)
    found = []
    for location, length in sorted(lengths.items()):
        relative = Path(location)
        if not location or relative.is_absolute() or ".." in relative.parts or "\\" in location:
            raise InputError(
                f"{path} keeps weights in {location[:80]!r}, outside its folder", "export it with its weights beside it"
            )
        beside = path.parent / relative
        if not beside.is_file():
            raise InputError(
                f"{beside} is missing, and holds weights of {path.name}", "put it there, with the name that it had"
            )
        if beside.stat().st_size < length:
            raise InputError(
                f"{beside} has {beside.stat().st_size:,} bytes, and {path.name} looks for weights up to {length:,}",
                "export or download both again",
            )
        found.append(beside)
    return tuple(found)


def _layout(shape: tuple[int | str, ...]) -> str:
    """Tell the layout from the place of the three channels; empty if it could be either."""
    found = [layout for layout, place in zip(LAYOUTS, (1, 3), strict=True) if _channels(shape[place])]
    if not found:  # other numbers of channels: greyscale, say
        small = [layout for layout, place in zip(LAYOUTS, (1, 3), strict=True) if shape[place] in (1, 2, 4)]
        return small[0] if len(small) == 1 else ""
    return found[0] if len(found) == 1 else ""


def _channels(length: int | str) -> bool:
    return length == 3 or (isinstance(length, str) and "channel" in length.lower())


def _rows(value: Value) -> str:
    """Say what an output is by the number of its dimensions."""
    known = {2: "one row per image", 3: "tokens", 4: "a map"}
    return known.get(len(value.shape), "of another shape") if value.shape else "of unknown shape"


def _shape_words(value: Value) -> str:
    if value.shape is None:
        return "(unknown)"
    return f"({', '.join(str(length) if isinstance(length, int) else '?' for length in value.shape)})"


def _words(value: Value) -> str:
    return f"{KINDS.get(value.kind, 'values')} of shape {_shape_words(value)}"
