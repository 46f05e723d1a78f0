"""JSON from disk: whatever is wrong with it is one kind of error."""

import pytest

from shelfbench.base.storage import load_json, write_json


def test_what_was_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"é": [1, None, "\u2028"]})
    assert load_json(tmp_path / "a.json") == {"é": [1, None, "\u2028"]}


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b"\xff", b"{", b"", b"1" * 100_000],
)
def test_damage_is_a_value_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r".+"):
        load_json(tmp_path / "a.json")
