"""Tables of text and JSON that were written by the standard library are read back as they were."""

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from shelfbench.data.sources.json_tables import read_json
from shelfbench.data.sources.text_tables import read_text

HEADER = ["file_name", "category"]
# no half of a pair and no character of control: those of a line are tried by the delimiters and quotes around them
TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12)
PLAIN = TEXT.filter(lambda text: text.strip())
LINES = st.sampled_from(["", "\n", '"', ";", ",", "\t", '""', "a\r\nb"])


@given(
    rows=st.lists(st.tuples(PLAIN, st.builds(lambda a, b, c: a + b + c, PLAIN, LINES, PLAIN)), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_of_text_is_read_as_it_was_written(tmp_path_factory, rows, delimiter, encoding, quoting):
    held = io.StringIO(newline="")
    csv.writer(held, delimiter=delimiter, quoting=quoting).writerows([HEADER, *rows])
    path = tmp_path_factory.getbasetemp() / "text.csv"
    path.write_bytes(held.getvalue().encode(encoding))
    cells = read_text(path, HEADER, lambda header: dict(zip(HEADER, header, strict=True)))
    assert list(zip(*(cells.columns[name] for name in HEADER), strict=True)) == rows
    # each row begins where an editor would show it: breaks within cells count as lines
    begins, line = [], 2
    for row in rows:
        begins.append(line)
        line += 1 + sum(cell.count("\n") for cell in row)
    assert cells.lines.tolist() == begins


@given(
    rows=st.lists(st.fixed_dictionaries({"file_name": PLAIN, "category": PLAIN | st.integers(-(2**40), 2**40)})),
    listed=st.booleans(),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_a_table_in_json_is_read_as_it_was_written(tmp_path_factory, rows, listed, indent, ascii_only):
    path = tmp_path_factory.getbasetemp() / "rows.json"
    rows = [*rows, {"file_name": "last", "category": "c"}]
    texts = [json.dumps(row, ensure_ascii=ascii_only, indent=indent if listed else None) for row in rows]
    path.write_text("[" + ",".join(texts) + "]" if listed else "\n".join(texts), encoding="utf-8")
    cells = read_json(path, lambda _: {name: name for name in HEADER})
    read = zip(*(cells.columns[name] for name in HEADER), strict=True)
    assert [dict(zip(HEADER, row, strict=True)) for row in read] == rows
    assert cells.lines.tolist() == list(range(1, len(rows) + 1))
