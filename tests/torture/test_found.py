"""What fuzzing has found: each input is drawn again, and is now read, or refused in one line that names the file."""

import json

import pytest

from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.base.storage import parse_json
from shelfbench.runs.record import read_record
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture
from tests.torture.fuzz import drawn
from tests.torture.fuzz_targets import TARGETS

# The parser and the number of the input, of seed 2: an end of the process, an IndexError, a UnicodeEncodeError, a
# TypeError.
FOUND = (("parquet", 408), ("parquet-table", 1017), ("tar", 7354), ("onnx", 6175))


@pytest.mark.parametrize(("name", "number"), FOUND)
def test_an_input_that_was_found_is_read_or_refused(tmp_path, name, number):
    target = TARGETS[name](tmp_path)
    try:
        target.read(drawn(target, name, 2, number))
    except ShelfbenchError as error:
        assert not target.places or any(place in str(error) for place in target.places)
        assert "\n" not in str(error)


def test_line_breaks_in_a_name_do_not_end_the_line():
    assert str(InputError("no file a\r\nb", "see\nthere")) == r"no file a\r\nb; see\nthere"


def test_half_a_character_is_not_json():
    assert parse_json(r'"\ud83d\ude00 \\ud800"') == "\U0001f600 \\ud800"
    for text in (r'["\ud800"]', rb'{"\uDC00": 1}'):
        with pytest.raises(ValueError, match="surrogates"):
            parse_json(text)


def test_half_a_character_in_a_record_is_one_line(tmp_path):
    (tmp_path / "run.json").write_text(r'{"seed": 0, "status": "\ud800"}')
    with pytest.raises(InputError, match=r"run\.json cannot be read"):
        read_record(tmp_path)


def test_rows_of_a_list_are_refused_by_the_name_of_the_table(tmp_path):
    table = tmp_path / "table.json"
    rows = [{"file_name": f"p{n}.png", "category": "a", "product_id": n or None} for n in range(3)]
    for n in range(3):
        (tmp_path / f"p{n}.png").write_bytes(noise_picture(n))
    table.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"table\.json: p0\.png has no product_id"):
        opened(table)
    table.write_text(json.dumps([*rows, {"file_name": "\ud800", "category": float("nan")}]))
    with pytest.raises(InputError, match=r"table\.json is not JSON"):
        opened(table)


def test_a_time_is_no_setting(tmp_path):
    with pytest.raises(InputError, match="max_depth is the time 2017-01-01; write it as text in quotes"):
        read_study("heads", [parse_setting("heads.forest.parameters.max_depth=2017-01-01")])
