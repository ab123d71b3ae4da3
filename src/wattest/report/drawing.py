"""Pictures: drawn by matplotlib, the same bytes every time, inert wherever they are shown.

What is drawn in `INK` takes the colour of the text around it, on a light page as on a dark one.
"""

from __future__ import annotations

import html
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattest.errors import ExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
MODES: Mapping[str, tuple[str, str]] = {
    "parallel": ("#d9731a", "s"),
    "alone": ("#2f7fd0", "o"),
    "load": ("#8a63d2", "^"),
}
"""Colour and marker of a mode: both can be told on paper, on black, and without colours."""

_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "wattest",
    "text.parse_math": False,
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "grid.alpha": 0.15,
    "hatch.linewidth": 0.6,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color",
         "ytick.color", "grid.color", "hatch.color"), INK),
}  # fmt: skip
_STYLE = re.compile(r' style="([^"]*)"')
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(?:url\(#|xlink:href="#)([^")]+)')
# A hundredth of a point is finer than any screen, and a page may hold thousands of marks.
_TAG = re.compile(r"<(?:use|path) [^>]*>")
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_USES = re.compile(r"<g([^<>]*)>\s*((?:<use [^>]*/>\s*){2,})</g>")
_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True)
class Picture:
    """A figure with its name, and what it shows, for those who do not see it."""

    name: str
    title: str
    description: str
    figure: Figure


@contextmanager
def drawing() -> Iterator[type[Figure]]:
    """Yield matplotlib's `Figure`; what is drawn within has the style of the house.

    Raises:
        ExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ExtraError("drawing needs matplotlib", "report") from None
    with matplotlib.rc_context(_RC), warnings.catch_warnings():  # type: ignore[arg-type]
        # The reader's fonts draw what matplotlib's own one lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield Figure


def inline_svg(picture: Picture) -> str:
    """Return a picture to be put into a page: no ids but its own, no style but attributes."""
    text = _svg(picture)
    body = text[text.index("<svg") :]
    body = re.sub(r"\s*<defs>\s*<style.*?</defs>", "", body, count=1, flags=re.DOTALL)
    body = _STYLE.sub(lambda match: _attributes(html.unescape(match[1])), body)
    body = body.replace(INK, "currentColor").replace(
        ' xmlns:xlink="http://www.w3.org/1999/xlink"', ""
    )
    body = body.replace(' xmlns="http://www.w3.org/2000/svg"', "").replace(' version="1.1"', "")
    body = _USES.sub(_together, _TAG.sub(lambda tag: _DECIMALS.sub(r"\1", tag[0]), body))
    body = _own_ids(body, picture.name).replace("xlink:href=", "href=")
    return re.sub(r"\s*\n\s*", "\n", body).strip()


def save(picture: Picture, path: Path) -> None:
    """Write a picture as what the name's suffix says: .svg, .pdf or .png.

    Raises:
        OSError: it cannot be written.
    """
    if path.suffix == ".svg":
        text = _svg(picture).replace(INK, "#000000")
        path.write_text(text, encoding="utf-8")
        return
    metadata: dict[str, Any] = {"Title": readable(picture.title)}
    if path.suffix == ".pdf":
        metadata |= {"CreationDate": None, "Creator": "wattest"}
    with drawing():
        picture.figure.savefig(
            path, dpi=200, metadata=metadata, facecolor="none" if path.suffix == ".pdf" else "white"
        )


def readable(text: str, most: int = 0) -> str:
    """Return a name that is one line and changes nothing around it.

    Control characters and marks of direction become a replacement character. With `most`, what is
    longer ends in an ellipsis; wide letters count twice.
    """
    clean = text if text.isascii() and text.isprintable() else "".join(map(_inert, text))
    if not most:
        return clean
    width = 0
    for index, letter in enumerate(clean):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > most:
            return clean[: max(index - 1, 1)] + "…"
    return clean


def _inert(letter: str) -> str:
    return "\ufffd" if unicodedata.category(letter) in _CONTROL else letter


def _svg(picture: Picture) -> str:
    output = io.StringIO()
    with drawing():
        picture.figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", output.getvalue(), flags=re.DOTALL)
    told = (
        f' role="img"><title>{html.escape(readable(picture.title))}</title>'
        f"<desc>{html.escape(readable(picture.description))}</desc>"
    )
    start = text.index(">", text.index("<svg"))
    return text[:start] + told + text[start + 1 :]


def _attributes(style: str) -> str:
    """Return declarations of CSS as attributes, which a page forbids to nobody."""
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    told = {name.strip(): value.strip() for name, value in pairs}
    if told.pop("font-family", None):
        told["font-family"] = "sans-serif"
    return "".join(f' {name}="{html.escape(value)}"' for name, value in told.items())


def _together(group: re.Match[str]) -> str:
    """Say once of all marks of a group how they look, where they look alike."""
    place = re.compile(r'(<use xlink:href="[^"]*" x="[^"]*" y="[^"]*")([^>]*)/>')
    looks = {one[2] for one in place.finditer(group[2])}
    if len(looks) != 1:
        return group[0]
    return f"<g{group[1]}{looks.pop()}>\n{place.sub(chr(92) + '1/>', group[2])}</g>"


def _own_ids(body: str, name: str) -> str:
    """Keep the ids that something in the picture refers to, under names of its own."""
    used = set(_REFERENCE.findall(body))
    body = _ID.sub(lambda one: f' id="{name}-{one[1]}"' if one[1] in used else "", body)
    return _REFERENCE.sub(lambda one: one[0].replace("#", f"#{name}-"), body)
