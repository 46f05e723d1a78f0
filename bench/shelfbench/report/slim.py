"""Figures in fewer bytes that look the same: PNG in 256 colours, SVG in few words, photos compressed as photos."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Iterator

from PIL import Image
from PIL.PngImagePlugin import PngInfo

_QUALITY = 85  # of photos
_LONG = 300  # letters of a path
_ALIKE = 3
# what matplotlib writes
_PHOTO = re.compile(r"data:image/png;base64,([^\"]*)")
_DRAWN = re.compile(r'(<path\b[^>]*? d=")([^"]*)')
_STEP = re.compile(r"([A-Za-z])([^A-Za-z]*)")
_NUMBERS = {"M": 2, "L": 2, "Q": 4, "C": 6, "z": 0}
_LETTER = re.compile(r'(<use xlink:href="#[^"]+") transform="translate\(([^ )]+) ([^ )]+)\)"')
_PLACE = re.compile(r'(translate\(| [xy]=")(-?[\d.]+)( -?[\d.]+)?')
_STYLE = re.compile(r'(?<= style=")[^"]*')
_CSS = '<style type="text/css">'
_NAME = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(href="|url\()#([^")]+)')
_WORDS = re.compile("<!--.*?-->", re.DOTALL)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def slim_png(drawn: bytes) -> bytes:
    """Write a chart in 256 colours.

    Parameters
    ----------
    drawn : bytes
        A PNG without transparency.

    Returns
    -------
    bytes
        A PNG with the same texts and resolution. The colours are chosen so that the largest change is small: of a
        chart, they are its colours and their blends with the background.
    """
    with Image.open(io.BytesIO(drawn)) as image:
        kept = PngInfo()
        for name, value in image.info.items():
            if isinstance(name, str) and isinstance(value, str):
                kept.add_itxt(name, value)
        few = image.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
        written = io.BytesIO()
        few.save(written, "PNG", optimize=True, dpi=image.info["dpi"], pnginfo=kept)
    return written.getvalue()


def slim_svg(text: str) -> str:
    """Write the SVG of a figure in fewer bytes.

    Places are rounded to hundredths of a point (1/72 inch), each by itself, so that no error adds up along a path;
    names that nothing refers to and spaces that mean nothing go. Embedded photos become JPEG.

    Parameters
    ----------
    text : str
        As matplotlib writes it.

    Returns
    -------
    str
        The same drawing. Comments, which hold the words of a text, stay: a category may be called anything.
    """
    words = iter(_WORDS.findall(text))
    text = _WORDS.sub("<!---->", text)
    text = _PHOTO.sub(lambda found: f"data:image/jpeg;base64,{as_jpeg(found[1])}", text)
    text = _once(_DRAWN.sub(lambda found: found[1] + _path(found[2]), text))
    text = _LETTER.sub(r'\1 x="\2" y="\3"', text)
    text = _PLACE.sub(lambda found: found[1] + " ".join(_short(place) for place in found.groups()[1:] if place), text)
    text = text.replace(' y="0"/>', "/>")
    text = _STYLE.sub(lambda found: found[0].replace("; ", ";").replace(": ", ":"), text)
    text = re.sub(r"\n\s*", "\n", _classed(_renamed(text)))
    return _WORDS.sub(lambda _: next(words), text)


def as_jpeg(photo: str) -> str:
    """Compress a photo that is held as PNG in Base64; one with transparency gets a white ground."""
    image = Image.open(io.BytesIO(base64.b64decode(photo))).convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    written = io.BytesIO()
    opaque.save(written, "JPEG", quality=_QUALITY, subsampling=0)  # optimize fails on small noisy photos
    return base64.b64encode(written.getvalue()).decode("ascii")


def as_webp(photos: bytes) -> bytes:
    """Compress a figure that shows photos, for the page."""
    with Image.open(io.BytesIO(photos)) as image:
        written = io.BytesIO()
        image.convert("RGB").save(written, "WEBP", quality=_QUALITY)
    return written.getvalue()


def _short(number: str) -> str:
    return _hundredths(round(100 * float(number)))


def _hundredths(value: int) -> str:
    whole, part = divmod(abs(value), 100)
    digits = f"{whole or ''}.{part:02d}".rstrip("0") if part else str(whole)
    return f"-{digits}" if value < 0 else digits


def _path(drawn: str) -> str:
    """Write a path from place to place; one with commands that matplotlib does not use stays as it is."""
    steps = [(command, numbers.split()) for command, numbers in _STEP.findall(drawn)]
    if any(len(numbers) != _NUMBERS.get(command) for command, numbers in steps):
        return drawn
    return "".join(_from_place_to_place(steps))


def _from_place_to_place(steps: list[tuple[str, list[str]]]) -> Iterator[str]:
    at = start = (0, 0)
    for command, numbers in steps:
        if command == "z":
            at = start
            yield "z"
            continue
        places = [round(100 * float(number)) for number in numbers]
        moved = [place - at[number % 2] for number, place in enumerate(places)]
        at = (places[-2], places[-1])
        if command == "M":
            start = at
            yield "M" + _row(places)
        elif command == "L" and not moved[1]:
            yield "h" + _hundredths(moved[0])
        elif command == "L" and not moved[0]:
            yield "v" + _hundredths(moved[1])
        else:
            yield command.lower() + _row(moved)


def _once(text: str) -> str:
    """Hold a long path once that is drawn several times, such as a word and the halo around it."""
    times = Counter(path for _, path in _DRAWN.findall(text) if len(path) > _LONG)
    for number, path in enumerate(path for path, count in times.items() if count > 1):
        text = text.replace(f'<path d="{path}"', f'<use xlink:href="#path{number}"')
        text = text.replace("</defs>", f'<path id="path{number}" d="{path}"/></defs>', 1)
    return text


def _row(numbers: list[int]) -> str:
    # a minus separates as a space does
    return " ".join(map(_hundredths, numbers)).replace(" -", "-")


def _renamed(text: str) -> str:
    """Give short names to what is referred to, and none to anything else."""
    used = {name for _, name in _REFERENCE.findall(text)}
    short = {name: _word(number) for number, name in enumerate(dict.fromkeys(_NAME.findall(text))) if name in used}
    text = _NAME.sub(lambda found: f' id="{short[found[1]]}"' if found[1] in used else "", text)
    return _REFERENCE.sub(lambda found: f"{found[1]}#{short.get(found[2], found[2])}", text)


def _classed(text: str) -> str:
    """Say once how things look that look alike."""
    if _CSS not in text:
        return text
    times = Counter(re.findall(r' style="[^"]*"', text))
    classes = {style: _word(number).upper() for number, style in enumerate(times) if times[style] >= _ALIKE}
    rules = "".join(f".{name}{{{style[8:-1]}}}" for style, name in classes.items())
    text = re.sub(
        r' style="[^"]*"', lambda found: f' class="{classes[found[0]]}"' if found[0] in classes else found[0], text
    )
    return text.replace(_CSS, _CSS + rules, 1)


def _word(number: int) -> str:
    more, place = divmod(number, len(_LETTERS))
    return (_word(more - 1) if more else "") + _LETTERS[place]
