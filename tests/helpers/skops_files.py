"""Files of skops as a stranger may have changed them."""

import io
import json
import os
import zipfile

import numpy as np


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, found, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in found.items():
            archive.writestr(name, data)


def nodes(value):
    if isinstance(value, dict):
        if "__loader__" in value:
            yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def schema(change):
    """Change the structure of the file."""

    def apply(path, canary):
        found = members(path)
        values = json.loads(found["schema.json"])
        change(values, canary)
        write(path, {**found, "schema.json": json.dumps(values)})

    return apply


def attribute(name, value):
    """Change the text of an attribute of the estimator."""

    def change(values, canary):
        values["content"]["content"][name] = {
            "__class__": "str",
            "__module__": "builtins",
            "__loader__": "JsonNode",
            "content": json.dumps(value),
            "is_json": True,
            "__id__": 1,
        }

    return schema(change)


def array(name, change):
    """Change the numbers of an attribute of the estimator, or of the first tree in it."""

    def apply(path, canary):
        found = members(path)
        values = json.loads(found["schema.json"])
        for node in nodes(values):
            content = node.get("content")
            inner = content.get("content", content) if isinstance(content, dict) else {}
            if isinstance(inner, dict) and name in inner and "file" in inner[name]:
                file = inner[name]["file"]
                numbers = np.load(io.BytesIO(found[file]))
                numbers = change(numbers)
                buffer = io.BytesIO()
                np.save(buffer, numbers)
                write(path, {**found, file: buffer.getvalue()})
                return
        raise AssertionError(name)

    return apply


def at(field, row, value):
    def change(numbers):
        numbers = numbers.copy()
        (numbers[field] if field else numbers)[row] = value
        return numbers

    return change


def evil(loader, module, name, **more):
    """Put a node of another kind in place of an attribute."""

    def change(values, canary):
        content = {key: (value(canary) if callable(value) else value) for key, value in more.items()}
        values["content"]["content"]["verbose"] = {
            "__class__": name,
            "__module__": module,
            "__loader__": loader,
            "__id__": 7,
            **content,
        }

    return schema(change)


def text(value):
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value)}


def of_text(*values):
    return {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": [*map(text, values)]}


def touch(canary):
    return of_text(f"touch {canary}")


SYSTEM = {"__class__": "system", "__module__": os.system.__module__, "__loader__": "FunctionNode"}
EMPTY = {
    "__class__": "dict",
    "__module__": "builtins",
    "__loader__": "DictNode",
    "content": {},
    "key_types": {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": []},
}


def partial(canary):
    return {"func": SYSTEM, "args": touch(canary), "kwds": EMPTY, "namespace": EMPTY}


def bomb(path, canary):
    write(path, {**members(path), "0.npy": bytes(1 << 28)}, zipfile.ZIP_DEFLATED)


def many_times(path, canary):
    found = members(path)
    values = json.loads(found["schema.json"])
    large = next(node for node in nodes(values) if "file" in node)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(100_000))
    found[large["file"]] = buffer.getvalue()
    values["content"]["content"]["verbose"] = {
        **of_text(),
        "content": [{**large, "__id__": 100 + number} for number in range(3000)],
    }
    write(path, {**found, "schema.json": json.dumps(values)})


def overlapping(path, canary):
    """Two names in the index that lead to the same bytes."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        items = archive.infolist()
    with zipfile.ZipFile(path, "a") as archive:
        again = zipfile.ZipInfo("1.npy")
        first = items[0]
        again.file_size, again.compress_size, again.CRC = first.file_size, first.compress_size, first.CRC
        again.header_offset = first.header_offset
        archive.filelist.extend([again] * 20)
        archive._didModify = True
    assert path.stat().st_size < len(data) + 4096


def npy(header, data=b""):
    """Put an array with this header in place of the first."""

    def apply(path, canary):
        found = members(path)
        name = next(name for name in found if name.endswith(".npy"))
        start = str(header).encode().ljust(117) + b"\n"
        found[name] = b"\x93NUMPY\x01\x00" + len(start).to_bytes(2, "little") + start + data
        write(path, found)

    return apply


def same_number(values, canary):
    """Let a node that is checked and one that is not have the same number."""
    found = [node for node in nodes(values) if node["__loader__"] == "JsonNode"]
    found[0]["__id__"] = found[1]["__id__"] = 5
    found[1]["content"] = '"other"'


def outputs(values, canary):
    tree = next(node for node in nodes(values) if node["__loader__"] == "TreeNode")
    tree["__reduce__"]["args"]["content"][2]["content"] = "1000000"


def no_nodes(values, canary):
    tree = next(node for node in nodes(values) if node["__loader__"] == "TreeNode")
    tree["content"] = EMPTY


def node_count(values, canary):
    tree = next(node for node in nodes(values) if node["__loader__"] == "TreeNode")
    tree["content"]["content"]["node_count"].update({"content": "0", "__id__": 7})


def booster(old, new):
    def apply(path, canary):
        found = members(path)
        [name] = [name for name in found if name.endswith(".bin")]
        assert old.encode() in found[name]
        write(path, {**found, name: found[name].replace(old.encode(), new.encode(), 1)})

    return apply


def booster_value(change):
    def apply(path, canary):
        found = members(path)
        [name] = [name for name in found if name.endswith(".bin")]
        values = json.loads(found[name])
        change(values["learner"]["gradient_booster"]["model"], values["learner"])
        write(path, {**found, name: json.dumps(values)})

    return apply


def child_far_away(model, learner):
    tree = next(tree for tree in model["trees"] if len(tree["left_children"]) > 1)
    tree["left_children"][0] = 10**6


def child_before(model, learner):
    tree = next(tree for tree in model["trees"] if len(tree["left_children"]) > 1)
    tree["left_children"][0] = 0


def feature_far_away(model, learner):
    tree = next(tree for tree in model["trees"] if len(tree["left_children"]) > 1)
    tree["split_indices"][0] = 10**6


def tree_twice(model, learner):
    model["trees"][1]["id"] = 0


def root_of(node):
    """A file whose estimator is this node."""
    return json.dumps({**node, "protocol": 2, "_skops_version": "0.16"})
