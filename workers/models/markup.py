"""HTML and SVG as a tree: text and attributes are escaped where they are written, everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, tostring

Part = Element | str


def tag(name: str, /, *parts: Part, **attributes: object) -> Element:
    """An element; `class_` is `class`, and `stroke_width` is `stroke-width`."""
    made = Element(
        name,
        {
            key.rstrip("_").replace("_", "-") if key != "viewBox" else key: text(value)
            for key, value in attributes.items()
        },
    )
    last: Element | None = None
    for part in parts:
        if isinstance(part, Element):
            made.append(part)
            last = part
        elif last is None:
            made.text = (made.text or "") + text(part)
        else:
            last.tail = (last.tail or "") + text(part)
    return made


def text(value: object) -> str:
    """As it is shown: numbers in at most six digits; characters that cannot be seen are marked."""
    if isinstance(value, float):
        return f"{value:.6g}"
    shown = str(value)
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in shown
    )


def table(head: Sequence[str], rows: Sequence[Sequence[Part]]) -> Element:
    """A table; the first cell of a row is its heading."""
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    columns = tag("tr", *(tag("th", name, scope="col") for name in head))
    made = [tag("tbody", *body)]
    if head:
        made.insert(0, tag("thead", columns))
    return tag("div", tag("table", *made), class_="wide")


def page(title: str, style: str, parts: Sequence[Part]) -> str:
    """A page that loads nothing and runs nothing, whatever stands in it."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style),
    )
    html = tag("html", head, tag("body", tag("main", *parts)), lang="en")
    # ElementTree writes <script> and <style> unescaped in HTML: their text is ours alone.
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"
