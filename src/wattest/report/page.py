"""Pages: one file that needs nothing else, no script, the same bytes for the same records."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from wattest.errors import ExtraError
from wattest.report.drawing import inline_svg, readable
from wattest.report.epochtable import epoch_table
from wattest.report.sheet import Sheet
from wattest.report.sheetfigure import sheet_picture

if TYPE_CHECKING:
    from jinja2 import Environment

_BREAK = re.compile("([/_])(?=[^/_])")


def sheet_page(sheet: Sheet) -> str:
    """Return the page of one run.

    Raises:
        ExtraError: jinja2 or matplotlib is not installed.
    """
    return render(
        "sheet.html", sheet=sheet, epochs=epoch_table(sheet), picture=sheet_picture(sheet)
    )


def render(template: str, **told: Any) -> str:
    """Return a page from a template, in which all that is not said to be safe is escaped.

    Its policy lets nothing in but its own stylesheet, which it names by its hash.
    """
    style = _text("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = _templates().get_template(template).render(style=style, digest=digest, **told)
    # What is no text in any encoding comes from a name in a record, and shall not cost the page.
    return page.encode("utf-8", errors="replace").decode("utf-8")


@cache
def _templates() -> Environment:
    try:
        from jinja2 import DictLoader, Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise ExtraError("the page needs jinja2", "report") from None
    names = [one.name for one in files("wattest.report").joinpath("templates").iterdir()]
    environment = Environment(
        loader=DictLoader({name: _text(name) for name in names if name.endswith(".html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "readable": readable,
        # Names of programs and hyper-parameters may go on in the next line.
        "breakable": lambda text: Markup(_BREAK.sub(r"\1<wbr>", html.escape(text))),
        # Quotes need no escape in a text, and a page of numbers is full of them.
        "as_text": lambda text: Markup(html.escape(text, quote=False)),
        "inline": lambda picture: Markup(inline_svg(picture)),
    }
    return environment


def _text(name: str) -> str:
    return files("wattest.report").joinpath("templates", name).read_text(encoding="utf-8")
