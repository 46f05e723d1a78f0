"""What an ONNX file says about itself, read without loading its weights and without any library.

An ONNX file is a message of protocol buffers (https://onnx.ai/onnx/repo-docs/IR.html). Only the few fields that decide
how the network is fed are read, through a memory map: a file of two gigabytes takes no longer than its number of nodes.
OpenVINO and ONNX Runtime, which compute the graph, show neither its metadata nor its files of weights.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Graphs inside the nodes of a graph, as `If` and `Loop` have them.
MAX_DEPTH = 16
Bytes = memoryview


@dataclass(frozen=True, kw_only=True)
class Value:
    """An input or output of a graph.

    Attributes
    ----------
    name : str
    kind : int
        Its element type as ONNX numbers them; 0 if it is not told.
    shape : tuple or None
        Of each dimension its length, its name, or "" if neither is told; None without a shape.
    """

    name: str
    kind: int
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Node:
    """An operation of the graph itself (not of the graphs inside it)."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class External:
    """Weights of the graph that lie in another file."""

    location: str
    end: int


@dataclass(kw_only=True)
class Graph:
    """An ONNX file without its weights.

    Attributes
    ----------
    inputs, outputs : list of Value
        Inputs that are weights with a default are left out.
    nodes : list of Node
    constants : set of str
        Names of the weights.
    operators : set of tuple of str
        Domain and name of every operation, also of graphs inside nodes.
    external : list of External
    opset : int
        Version of ONNX's own operators; 0 if it is not told.
    metadata : dict of str to str
    producer : str
    """

    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)
    operators: set[tuple[str, str]] = field(default_factory=set)
    external: list[External] = field(default_factory=list)
    opset: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    producer: str = ""


def read_graph(path: Path) -> Graph:
    """Read what an ONNX file says about its graph.

    Parameters
    ----------
    path : Path
        A file that is not empty.

    Returns
    -------
    Graph

    Raises
    ------
    ValueError
        If it is not an ONNX file, or is damaged or cut short; the message says so in a few words.
    OSError
        If it cannot be read.
    """
    graph = Graph()
    with open(path, "rb") as handle:
        mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    # not closed here: the views of an error's traceback would forbid it
    _model(memoryview(mapped), graph)
    return graph


def _model(whole: Bytes, graph: Graph) -> None:
    version = graphs = 0
    for number, value in _fields(whole):
        if number == 1:
            version = _number(value)
        elif number == 2:
            graph.producer = _text(value)[:100]
        elif number == 7:
            graphs += 1
            _graph(_message(value), graph, 0)
        elif number == 8:
            _opset(_message(value), graph)
        elif number == 14:
            key, text = _pair(_message(value))
            graph.metadata[key] = text
        elif number == 25:  # functions of the file's own, made of nodes
            for inner, node in _fields(_message(value)):
                if inner == 7:
                    _node(_message(node), graph, 1)
                elif inner == 11:  # an attribute with a default
                    _attribute(_message(node), graph, 1)
    if not version or not graphs:
        raise ValueError("it contains no graph")


def _graph(message: Bytes, graph: Graph, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("graphs are nested too deeply in it")
    inputs: list[Value] = []
    for number, value in _fields(message):
        if number == 1:
            _node(_message(value), graph, depth)
        elif number == 5:
            _tensor(_message(value), graph, depth)
        elif number == 15:  # sparse weights: values and indices are tensors
            for inner, tensor in _fields(_message(value)):
                if inner in (1, 2):
                    _tensor(_message(tensor), graph, depth)
        elif number in (11, 12) and depth == 0:
            (inputs if number == 11 else graph.outputs).append(_value(_message(value)))
    graph.inputs += [value for value in inputs if value.name not in graph.constants]


def _node(message: Bytes, graph: Graph, depth: int) -> None:
    names: dict[int, list[str]] = {1: [], 2: [], 4: [""], 7: [""]}
    for number, value in _fields(message):
        if number in names:
            names[number].append(_text(value))
        elif number == 5:
            _attribute(_message(value), graph, depth)
    node = Node(op=names[4][-1], domain=names[7][-1], inputs=tuple(names[1]), outputs=tuple(names[2]))
    graph.operators.add((node.domain, node.op))
    if depth == 0:
        graph.nodes.append(node)


def _attribute(message: Bytes, graph: Graph, depth: int) -> None:
    for number, value in _fields(message):
        if number in (5, 10):
            _tensor(_message(value), graph, depth + 1)
        elif number in (6, 11):
            _graph(_message(value), graph, depth + 1)
        elif number in (22, 23):
            for inner, tensor in _fields(_message(value)):
                if inner in (1, 2):
                    _tensor(_message(tensor), graph, depth + 1)


def _tensor(message: Bytes, graph: Graph, depth: int) -> None:
    entries: dict[str, str] = {}
    name, elsewhere = "", False
    for number, value in _fields(message):
        if number == 8:
            name = _text(value)
        elif number == 13:
            key, text = _pair(_message(value))
            entries[key] = text
        elif number == 14:
            elsewhere = _number(value) == 1
    if depth == 0:
        graph.constants.add(name)
    if elsewhere or entries:
        numbers = [entries.get(key) or "0" for key in ("offset", "length")]
        if not all(text.isdecimal() and len(text) < 19 for text in numbers):
            raise ValueError("it gives weights a place that is not a number")
        graph.external.append(External(location=entries.get("location", ""), end=sum(map(int, numbers))))


def _opset(message: Bytes, graph: Graph) -> None:
    domain, version = "", 0
    for number, value in _fields(message):
        if number == 1:
            domain = _text(value)
        elif number == 2:
            version = _number(value)
    if domain in ("", "ai.onnx"):
        graph.opset = version


def _value(message: Bytes) -> Value:
    name, kind, shape = "", 0, None
    for number, value in _fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for inner, tensor in _fields(_message(value)):
                if inner == 1:
                    kind, shape = _tensor_type(_message(tensor))
    return Value(name=name, kind=kind, shape=shape)


def _tensor_type(message: Bytes) -> tuple[int, tuple[int | str, ...] | None]:
    kind, shape = 0, None
    for number, value in _fields(message):
        if number == 1:
            kind = _number(value)
        elif number == 2:
            shape = tuple(_dimension(_message(entry)) for inner, entry in _fields(_message(value)) if inner == 1)
    return kind, shape


def _dimension(message: Bytes) -> int | str:
    found: int | str = ""
    for number, value in _fields(message):
        if number == 1:
            length = _number(value)
            found = length if 0 < length < 1 << 31 else ""
        elif number == 2:
            found = _text(value)
    return found


def _pair(message: Bytes) -> tuple[str, str]:
    found = {1: "", 2: ""}
    for number, value in _fields(message):
        if number in found:
            found[number] = _text(value)
    return found[1], found[2]


def _fields(message: Bytes) -> Iterator[tuple[int, int | Bytes]]:
    """Go through the fields of a message: their numbers, with a whole number or with bytes."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("its bytes are not those of an ONNX file")
        if number == 0:
            raise ValueError("its bytes are not those of an ONNX file")
        if length > end - at:
            raise ValueError("it is damaged or cut short")
        yield number, message[at : at + length]
        at += length


def _varint(message: Bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it is damaged or cut short")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("its bytes are not those of an ONNX file")


def _number(value: int | Bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("its bytes are not those of an ONNX file")
    return int(struct.unpack("<q", struct.pack("<Q", value & (1 << 64) - 1))[0])


def _message(value: int | Bytes) -> Bytes:
    if isinstance(value, int):
        raise ValueError("its bytes are not those of an ONNX file")
    return value


def _text(value: int | Bytes) -> str:
    try:
        return bytes(_message(value)).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("a name in it is not text") from None
