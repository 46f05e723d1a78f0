"""Names in a table that lead to no file: found where that is certain, otherwise one line says why and what to do."""

import base64

import pytest

from shelfbench.base.errors import InputError
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture


@pytest.fixture
def shop(tmp_path):
    """Make eight photos in a folder whose name has a blank, without a table."""
    root = tmp_path / "shop"
    (root / "my images").mkdir(parents=True)
    for number in range(8):
        (root / "my images" / f"p {number}.png").write_bytes(noise_picture(number))
    return root


def table(root, write, *more):
    """Write a table of the eight photos; `write` turns a path into what its cell says."""
    rows = [f'"{write(f"my images/p {n}.png")}",{("hats", "boots")[n % 2]}' for n in range(8)]
    (root / "metadata.csv").write_text("\n".join(["file_name,category", *rows, *more]), encoding="utf-8")
    return root / "metadata.csv"


def present(catalogue):
    return sum(bool(data) for data in catalogue.images.read(range(len(catalogue.images))))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.replace(" ", "%20"),
        lambda path: f"{path}?v=1624",
        lambda path: path.replace(" ", "%20") + "?v=1&w=800",
    ],
)
def test_names_written_as_in_a_link_are_found_and_told(shop, write):
    catalogue = opened(table(shop, write))
    assert present(catalogue) == 8
    [note] = catalogue.notes
    assert note.startswith("8 names in metadata.csv are written as in a link")


def test_a_name_that_contains_a_percent_sign_is_itself_first(shop):
    (shop / "my images" / "p%200.png").write_bytes(noise_picture(20))
    rows = ["file_name,category", "my images/p%200.png,hats", "my images/p%201.png,boots"]
    (shop / "metadata.csv").write_text("\n".join(rows))
    catalogue = opened(shop / "metadata.csv")
    assert list(catalogue.images.read([0, 1])) == [noise_picture(20), noise_picture(1)]


def test_a_link_does_not_lead_out_of_the_folder(shop):
    (shop.parent / "secret.png").write_bytes(noise_picture(9))
    catalogue = opened(table(shop, str, "%2e%2e/secret.png,hats"))
    assert present(catalogue) == 8


def test_a_folder_that_was_left_out_is_found_though_some_photos_are_missing(shop):
    catalogue = opened(table(shop, lambda path: path.rpartition("/")[2], "gone.png,hats"))
    assert (present(catalogue), len(catalogue.images)) == (8, 9)
    assert any("8 of the 9 were each found in exactly one place, in my images/" in note for note in catalogue.notes)
    assert any("is not there: my images/gone.png" in note for note in catalogue.notes)


def test_a_folder_is_not_guessed_from_a_few_of_the_photos(shop):
    with pytest.raises(InputError, match="no file is where"):
        opened(table(shop, lambda path: path.rpartition("/")[2], *(f"gone{n}.png,hats" for n in range(9))))


@pytest.mark.parametrize(
    ("write", "said", "remedy"),
    [
        ("/home/anna/shop/{}", r"leads out of .*shop, in which there is my images/p 0\.png", "relative to the folder"),
        ("../input/{}", r"leads out of .*shop, in which there is my images/p 0\.png", "relative to the folder"),
        ("/{}", r"leads out of .*shop, in which there is my images/p 0\.png", "relative to the folder"),
        ("//cdn.shop.example/{}", "is a link without https:", "write https: before"),
        (r"C:\photos\{}", "on a drive of Windows", "relative to the folder"),
        ("{}, my images/other.png", "names several photos in one cell", "a row for each photo"),
        ("{}|{}", "names several photos in one cell", "a row for each photo"),
        ("https://a.example/1.jpg, https://a.example/2.jpg", "several photos in one cell", "a row for each photo"),
        ("https://a.example/1.jpg;https://a.example/2.jpg", "several photos in one cell", "a row for each photo"),
        ("data:image/png;base64," + base64.b64encode(noise_picture(1)).decode(), "written as text", "into a file"),
        (base64.b64encode(noise_picture(1) * 9).decode(), "written as text", "into a file"),
    ],
)
def test_the_cause_is_named(shop, write, said, remedy):
    with pytest.raises(InputError, match=said) as caught:
        opened(table(shop, lambda path: write.format(path, path)))
    assert remedy in caught.value.remedy
    assert len(caught.value.message) < 600


def test_another_suffix_is_named(shop):
    with pytest.raises(InputError, match=r"p 0\.jpg' is missing, but there is my images/p 0\.png") as caught:
        opened(table(shop, lambda path: path.replace(".png", ".jpg")))
    assert "suffix" in caught.value.remedy


def test_an_archive_beside_the_table_is_named(shop):
    (shop / "photos.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="does not contain any of the 8 files") as caught:
        opened(table(shop, lambda path: path.replace("p ", "q ")))
    assert caught.value.remedy == "unpack photos.zip"


@pytest.mark.parametrize(
    "link", ["https://proxy.example/?url=https://a.example/1.jpg", "https://a.example/l_logo.png,w_100/1.jpg"]
)
def test_a_link_within_a_link_is_one_photo(shop, link):
    (shop / "metadata.csv").write_text(f'file_name,category\n"{link}",hats\n')
    assert opened(shop / "metadata.csv").images.where(0) == link


def test_a_few_cells_that_are_no_link_do_not_stop_the_others(shop):
    links = [f"https://a.example/{n}.jpg,{'ab'[n % 2]}" for n in range(4)]
    (shop / "products.csv").write_text("\n".join(["file_name,category", *links, "N/A,a", "www.a.example/5.jpg,b"]))
    catalogue = opened(shop / "products.csv")
    assert len(catalogue.images) == 6
    assert catalogue.notes == ("2 photos of the 6 that products.csv names are not there: N/A, www.a.example/5.jpg",)
