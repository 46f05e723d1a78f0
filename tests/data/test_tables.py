"""Tables that name images: however they were written, they are read as a person would, or one line says why not."""

import csv
import io
import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import named_images, read_cells
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture

PLAIN = DatasetSettings()


@pytest.fixture
def shop(tmp_path):
    """Make six photos in images/, without a table."""
    (tmp_path / "images").mkdir()
    for number in range(6):
        (tmp_path / "images" / f"p{number}.png").write_bytes(noise_picture(number))
    return tmp_path


def rows(*categories, name="images/p{}.png"):
    """Name the photos of a shop, with their categories."""
    return [(name.format(number), category) for number, category in enumerate(categories)]


def write(path, table, header=("file_name", "category"), encoding="utf-8", **form):
    with open(path, "w", encoding=encoding, newline="") as handle:
        csv.writer(handle, **form).writerows([header, *table])


def keys(catalogue):
    return [catalogue.categories[code].key for code in catalogue.product_category]


# in Windows-1252 no text of these is UTF-8 by accident, as 'é€€' would be; three accents in a row are strange
CELLS = st.text(st.sampled_from("aZ7 .,;|\t\"'\n\réßñ-"), min_size=1, max_size=12).filter(
    lambda cell: cell.strip() and not re.search("[éßñ]{3}", cell)
)


@settings(deadline=None, max_examples=150)
@given(
    table=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    sep=st.booleans(),
)
@example(
    table=[("a", 'say "x";', "é")] * 3,
    delimiter=",",
    encoding="utf-16",
    quoting=csv.QUOTE_MINIMAL,
    ends="\r",
    sep=False,
)
def test_what_csv_writes_is_read_back(tmp_path_factory, table, delimiter, encoding, quoting, ends, sep):
    path = tmp_path_factory.mktemp("t") / "products.csv"
    if any("\r" in cell or "\n" in cell for row in table for cell in row):
        quoting = csv.QUOTE_ALL  # Python's writer forgets some of them
    text = io.StringIO(newline="")
    if sep:
        text.write(f"sep={delimiter}{ends}")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ends).writerows(
        [("file_name", "category", "product_id"), *table]
    )
    path.write_bytes(text.getvalue().encode(encoding))
    cells, _ = read_cells(path, PLAIN)
    got = zip(*(cells.columns[role] for role in ("file_name", "category", "product_id")), strict=True)
    assert list(got) == table
    guessed = encoding == "cp1252" and not text.getvalue().isascii()
    assert ("Windows-1252" in cells.note) == guessed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_table_of_any_form_opens(shop, encoding):
    table = rows("Café", "Été", "Café", "Été", "a;b", "a;b")
    write(shop / "metadata.csv", table, encoding=encoding, delimiter=";")
    catalogue = opened(shop)
    assert keys(catalogue) == ["Café", "Été", "Café", "Été", "a;b", "a;b"]
    assert all(catalogue.images.read(range(6)))
    assert ["'Café'" in note for note in catalogue.notes] == [True] * (encoding == "cp1252")


def test_headers_in_any_case_and_columns_by_their_settings(shop):
    write(shop / "metadata.csv", rows("a", "b"), header=(" File-Name", "CATEGORY "))
    assert keys(opened(shop)) == ["a", "b"]
    write(shop / "metadata.csv", rows("a", "b"), header=("image_url", "label"))
    with pytest.raises(InputError, match=r"no column 'file_name'.*--set dataset\.file_name=image_url"):
        opened(shop)
    with pytest.raises(InputError, match=r"no column 'category'.*--set dataset\.category=label"):
        opened(shop, file_name="image_url")
    assert keys(opened(shop, file_name="image_url", category="label")) == ["a", "b"]
    write(shop / "metadata.csv", [("x", "images/p0.png", "a")], header=("URL", "Image Link", "category"))
    with pytest.raises(InputError, match=r"perhaps with --set 'dataset\.file_name=Image Link'"):
        opened(shop)
    write(shop / "metadata.csv", [("images/p0.png", "a", "b")], header=("file_name", "Category", "category "))
    with pytest.raises(InputError, match="'Category' and 'category ', which may both be 'category'"):
        opened(shop)
    write(shop / "metadata.csv", [("images/p0.png", "a", "b")], header=("file_name", "category", "category"))
    with pytest.raises(InputError, match="'category' more than once"):
        opened(shop)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("file_name,category\nx.png,a\ny.png\n", "line 3 has only 1 cells, but the header has 2"),
        ('file_name,category\n"x\n.png",a\ny.png,a,b\n', "line 4 has 3 cells, but the header has 2"),
        ('file_name,category\nx.png,"a\ny.png,b\nz.png,"c\n', "line 4: text follows a closing quotation mark"),
        ('file_name,category\nx.png,"a\n', "line 2: a quotation mark is opened and never closed"),
        ('file_name,category\n\ny.png,b\nx.png,"a\n' + "x.png,b\n" * 9, "line 4: a quotation mark is opened and never"),
        ("file_name,category\n,a\n", "line 2: no file_name"),
        ("x.png,a\ny.png,b\n", r"no column 'file_name' \(it has x.png, a\); begin the table with a line of column"),
        ("file_name|x,category\na|b,c\n", "unclear whether ',' or '\\|' separates the cells"),
        ("PK\x03\x04", r"but a workbook or an archive; call it \*\.xlsx"),
        ("<HTML><body>", "but a web page"),
    ],
)
def test_damaged_tables_are_named_by_line(shop, text, message):
    (shop / "metadata.csv").write_text(text)
    with pytest.raises(InputError, match=rf"metadata\.csv.*{message}"):
        opened(shop)


def test_encodings_that_cannot_be_known_stop(shop):
    header = b"file_name,category\n"
    (shop / "metadata.csv").write_bytes(header + b"images/p0.png,a\x81\n")
    with pytest.raises(InputError, match="line 2: the byte 0x81 is neither UTF-8 nor Windows-1252"):
        opened(shop)
    (shop / "metadata.csv").write_bytes(header + "images/p0.png,é\n".encode() + "images/p1.png,é\n".encode("cp1252"))
    with pytest.raises(InputError, match="line 2 is UTF-8, but line 3 is not"):
        opened(shop)
    (shop / "metadata.csv").write_bytes("\ufefffile_name,category\nimages/p0.png,é\n".encode("utf-16-le")[:-1])
    with pytest.raises(InputError, match="damaged: it begins as utf-16"):
        opened(shop)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1251", ["Обувь", "Сумки"]),
        ("cp1253", ["Παπούτσια", "Τσάντες"]),
        ("mac-roman", ["Été", "Café"]),
        ("gbk", ["鞋子", "手提包"]),
        ("shift-jis", ["鞄カバン", "靴下"]),
        ("cp1255", ["נעליים", "תיקים"]),
    ],
)
def test_other_encodings_are_not_taken_for_that_of_windows(shop, encoding, words):
    write(shop / "metadata.csv", rows(*words * 3), encoding=encoding)
    with pytest.raises(InputError, match=r"UTF-8.*Windows-1252.*; save the table as UTF-8"):
        opened(shop)


@pytest.mark.parametrize(
    "words",
    [
        ["Été", "Café", "Crème brûlée", "Œuvre", "aujourd´hui"],
        ["Füße", "Größe", "Übergröße", "Käufer", "„Hüte“", "Mode – 50 €"],
        ["Men’s", "Levi’s®", "n°5", "½”", "Åå", "Smörgås", "Garçon", "Señor", "«Zapatos»", "¿Qué?"],
    ],
)
def test_western_words_are_taken_as_windows_writes_them(shop, words):
    write(shop / "metadata.csv", rows(*words[:6]), encoding="cp1252")
    assert sorted(keys(opened(shop))) == sorted(words[:6])


def test_empty_rows_and_empty_cells_that_excel_leaves(shop):
    (shop / "metadata.csv").write_text(
        "file_name;category;;\r\n\r\nimages/p0.png;a;;\r\n;;;\r\n ; ;\r\nimages/p1.png;b;;;;\r\n"
    )
    assert keys(opened(shop)) == ["a", "b"]


def test_blanks_after_delimiters_and_before_quotation_marks(shop):
    (shop / "metadata.csv").write_text('file_name, category\nimages/p0.png, "a, b"\nimages/p1.png, "c"\n')
    assert keys(opened(shop)) == ["a, b", "c"]


def test_two_tables_stop(shop):
    write(shop / "metadata.csv", rows("a"))
    (shop / "metadata.jsonl").write_text("{}")
    with pytest.raises(InputError, match=r"contains metadata\.csv and also metadata\.jsonl"):
        opened(shop)


def test_names_with_backslashes_other_case_and_other_form(shop):
    (shop / "images" / "café.png").write_bytes(b"1")
    (shop / "back\\slash.png").write_bytes(b"2")
    write(
        shop / "metadata.csv",
        [(r"images\p0.png", "a"), ("Images/P1.PNG ", "a"), ("images/cafe\u0301.png", "b"), ("back\\slash.png", "b")],
    )
    catalogue = opened(shop)
    assert catalogue.product_id.tolist() == ["images/p0.png", "images/p1.png", "images/café.png", "back\\slash.png"]
    assert catalogue.images.read([2, 3]) == [b"1", b"2"]
    assert "2 names in metadata.csv differ from the file only in capitals, Unicode form" in catalogue.notes[0]


def test_a_name_that_two_files_may_mean_is_none(shop):
    (shop / "images" / "P0.png").write_bytes(b"other")
    write(shop / "metadata.csv", [("images/p1.png", "a"), ("images/P0.PNG", "b")])
    catalogue = opened(shop)
    assert catalogue.images.read([1]) == [b""]
    assert "1 photo of the 2 that metadata.csv names is not there: images/P0.PNG" in catalogue.notes


def test_a_folder_that_was_left_out(shop):
    write(shop / "metadata.csv", rows("a", "b", "a", "b", name="p{}.png"))
    catalogue = opened(shop)
    assert catalogue.product_id.tolist() == [f"images/p{number}.png" for number in range(4)]
    assert "exactly one place, in images/" in catalogue.notes[0]
    (shop / "old").mkdir()
    (shop / "old" / "p2.png").write_bytes(b"1")
    with pytest.raises(
        InputError, match=r"no file is where .*metadata.csv says: 'p0.png' is missing, but there is images/p0"
    ):
        opened(shop)
    write(shop / "metadata.csv", rows("a", "b", name="images/p{}"))
    with pytest.raises(InputError, match=r"'images/p0' is missing, but there is images/p0\.png; write .* suffix"):
        opened(shop)
    write(shop / "metadata.csv", rows("a", "b", name="q{}.png"))
    with pytest.raises(InputError, match=r"does not contain any of the 2 files that .*metadata.csv names"):
        opened(shop)
    write(shop / "metadata.csv", rows("a", "b", name="C:\\photos\\p{}.png"))
    with pytest.raises(InputError, match="on a drive of Windows"):
        opened(shop)


def test_links_lead_out_of_no_catalogue(shop, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "secret.png").write_bytes(b"x")
    (shop / "link.png").symlink_to(other / "secret.png")
    (shop / "folder").symlink_to(other)
    for name in ("link.png", "folder/secret.png", "images/../../other/x.png", "folder\\secret.png"):
        write(shop / "metadata.csv", [("images/p0.png", "a"), (name, "a")])
        with pytest.raises(InputError, match=r"line 3: file_name .* is not a file below"):
            opened(shop)
    (shop / "inside.png").symlink_to(shop / "images" / "p1.png")
    write(shop / "metadata.csv", [("images/p0.png", "a"), ("./inside.png", "b")])
    assert opened(shop).images.read([1]) == [noise_picture(1)]


@pytest.mark.parametrize("form", ["lines", "list"])
def test_json(shop, form):
    table = [
        {"file_name": name, "category": category} for name, category in rows("a", "b", None, " ", float("nan"), "é")
    ]
    del table[2]["category"]
    if form == "lines":
        (shop / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in table) + "\n\n", encoding="utf-8-sig")
    else:
        (shop / "metadata.json").write_text(json.dumps(table, indent=1), encoding="utf-16")
    catalogue = opened(shop)
    assert keys(catalogue) == ["a", "b", "é"]
    assert catalogue.unlabelled == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"file_name": "images/p0.png", "category": "a"}\n{"file_name": ', "line 2 is not JSON"),
        ('{"file_name": "images/p0.png", "category": "a"}\n[1]\n', "line 2 is not an object"),
        ('{"file_name": "images/p0.png", "category": ["a"]}', "'a'.* is not a plain value"),
        ('{"file_name": "images/p0.png"}', "no column 'category'"),
        ('{\n "images": []\n}', "is not a list of objects"),
        ("", "is empty"),
    ],
)
def test_damaged_json_is_named_by_line(shop, text, message):
    (shop / "metadata.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        opened(shop)


def test_a_million_lines_share_their_categories(tmp_path):
    write(tmp_path / "t.csv", [(f"{number}.png", f"kind {number % 3}") for number in range(3000)])
    cells, _ = read_cells(tmp_path / "t.csv", PLAIN)
    assert len({id(value) for value in cells.columns["category"]}) == 3


def test_urls_are_left_as_they_are(shop):
    write(shop / "products.csv", [("https://shop.example/a.jpg?x=1", "a"), ("images/p1.png", "b")])
    named = named_images(shop / "products.csv", shop, PLAIN)
    assert named.rows["where"].tolist() == ["https://shop.example/a.jpg?x=1", "images/p1.png"]
