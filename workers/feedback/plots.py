"""The plots of a report, as SVG: curves, and bars of counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from workers.models.markup import tag, text

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 26, 34
ROW = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A curve; without `across` its points are evenly spaced. A gap where a value is NaN."""

    name: str
    values: Sequence[float]
    across: Sequence[float] | None = None


def curve(
    label: str,
    names: Sequence[str] | None,
    lines: Sequence[Line],
    *,
    diagonal: bool = False,
) -> Element:
    """Curves over named places, or over numbers from 0 to 1; then both axes are 0 to 1."""
    low, high = (0.0, 1.0) if names is None else _range(lines)
    parts = [_axis(names), *_scale(low, high)]
    if diagonal:
        ends = f"{_x(0)},{_y(0, 0, 1)} {_x(1)},{_y(1, 0, 1)}"
        parts.append(tag("polyline", points=ends, class_="same"))
    for number, line in enumerate(lines):
        kind = "line" if number == 0 else f"line{number}"
        places = line.across or _even(len(line.values))
        found = [(x, y) for x, y in zip(places, line.values, strict=True) if not math.isnan(y)]
        points = " ".join(f"{_x(x)},{_y(y, low, high)}" for x, y in found)
        parts.append(tag("polyline", points=points, class_=kind))
        dots = [
            tag(
                "circle",
                tag("title", f"{y:.4g}"),
                cx=_x(x),
                cy=_y(y, low, high),
                r=2.5,
                class_=f"key{number}",
            )
            for x, y in found
        ]
        parts += dots
        parts.append(
            tag("rect", x=LEFT + 130 * number, y=6, width=10, height=10, class_=f"key{number}")
        )
        parts.append(tag("text", line.name, x=LEFT + 130 * number + 14, y=15))
    return _figure(label, parts, HEIGHT)


def bars(label: str, counts: Mapping[str, int]) -> Element:
    """A bar a name, as long as its share of all."""
    whole = sum(counts.values()) or 1
    parts = []
    for number, (name, count) in enumerate(counts.items()):
        y = 4 + ROW * number
        wide = round((WIDTH - 330) * count / whole, 2)
        parts += [
            tag("text", name, x=0, y=y + 12),
            tag("rect", x=150, y=y, width=max(wide, 0.5), height=ROW - 6, class_="bar"),
            tag("text", f"{count:,} ({count / whole:.1%})", x=156 + wide, y=y + 12),
        ]
    return _figure(label, parts, max(ROW * len(counts) + 4, ROW))


def _range(lines: Sequence[Line]) -> tuple[float, float]:
    seen = [value for line in lines for value in line.values if not math.isnan(value)]
    if not seen:
        return 0.0, 1.0
    low, high = min(seen), max(seen)
    room = (high - low) * 0.1 or 0.01
    return low - room, high + room


def _even(count: int) -> list[float]:
    return [0.5] if count == 1 else [place / (count - 1) for place in range(count)]


def _x(share: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(share, 0.0), 1.0), 2)


def _y(value: float, low: float, high: float) -> float:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 2)


def _axis(names: Sequence[str] | None) -> Element:
    floor = HEIGHT - BOTTOM
    shown = names or ["0", "0.25", "0.5", "0.75", "1"]
    step = max(1, math.ceil(len(shown) / 12))
    marks = [
        tag("text", name, x=_x(x), y=floor + 14, text_anchor="middle")
        for place, (x, name) in enumerate(zip(_even(len(shown)), shown, strict=True))
        if place % step == 0
    ]
    line = tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor, class_="axis")
    return tag("g", line, *marks)


def _scale(low: float, high: float) -> list[Element]:
    marks = [low + (high - low) * step / 4 for step in range(5)]
    return [
        tag(
            "text",
            text(float(f"{mark:.3g}")),
            x=LEFT - 6,
            y=_y(mark, low, high) + 4,
            text_anchor="end",
        )
        for mark in marks
    ]


def _figure(label: str, parts: Sequence[Element], height: int) -> Element:
    box = {"viewBox": f"0 0 {WIDTH} {height}", "class_": "plot"}
    svg = tag("svg", *parts, role="img", aria_label=label, **box)
    return tag("figure", svg, tag("figcaption", label))
