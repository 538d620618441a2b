"""The plots of a model card, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from workers.models.bundle import Calibration, Decisions
from workers.models.markup import tag, text
from workers.models.model import calibrated
from workers.models.reference import Bins, Categories

WIDTH, HEIGHT = 640, 226
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 30, 30
SMALL = (150, 36)
FEW, MOST = 10, 60
"""Bars of a small histogram: of more bins than FEW the ends are left out, of categories more than
MOST the rarest."""


def score_plot(scores: Bins, decisions: Decisions, score_range: tuple[float, float]) -> Element:
    """The reference scores as a histogram, with the bands of the decisions behind it."""
    low, high = score_range
    spans = _spans(decisions, low, high)
    bands = [part for place, span in enumerate(spans) for part in _band(place, *span, low, high)]
    highest = max(_densities(scores), default=0.0)
    bars = [
        _bar(_across(start, low, high), _across(end, low, high), _share(density, 0, highest), count)
        for start, end, density, count in zip(
            scores.edges, scores.edges[1:], _densities(scores), scores.counts, strict=False
        )
    ]
    label = "Distribution of reference scores, and the decisions they lead to"
    return _figure(label, [*bands, *bars, *_axis(low, high, "score")])


def calibration_plot(calibration: Calibration, score_range: tuple[float, float]) -> Element:
    """How the booster's raw score is mapped; the dashed line is no change at all."""
    low, high = score_range
    raw = np.linspace(0, 1, 201)
    if calibration.method == "isotonic":
        raw = np.linspace(calibration.scores[0], calibration.scores[-1], 201)
    mapped = calibrated(raw, calibration)
    first, last = float(raw[0]), float(raw[-1])
    points = _points(raw.tolist(), mapped.tolist(), (first, last), (low, high))
    same = _points([first, last], [first, last], (first, last), (low, high))
    lines = [
        tag("polyline", points=same, class_="same"),
        tag("polyline", points=points, class_="line"),
        tag("text", text(high), x=LEFT - 6, y=TOP + 4, text_anchor="end"),
        tag("text", text(low), x=LEFT - 6, y=HEIGHT - BOTTOM, text_anchor="end"),
    ]
    label = "Calibrated score by the booster's raw score"
    return _figure(label, [*lines, *_axis(first, last, "raw score of the booster")])


def small_histogram(spread: Bins | Categories, name: str) -> Element:
    """A feature's reference distribution, without an axis: what is beside the bars is in the title.

    Of numbers in many bins the outermost two are left out: far values would flatten all others.
    """
    width, height = SMALL
    if isinstance(spread, Categories):
        heights = [float(count) for count in sorted(spread.counts, reverse=True)[:MOST]]
        edges = [float(place) for place in range(len(heights) + 1)]
        title = f"{name}: {len(spread.counts)} categories, the most frequent first"
    else:
        shown = slice(1, -1) if len(spread.counts) > FEW else slice(None)
        heights = _densities(spread)[shown]
        edges = list(spread.edges[shown])
        title = f"{name}: shown {edges[0]:.6g} to {edges[-1]:.6g}"
        title += f", seen {spread.edges[0]:.6g} to {spread.edges[-1]:.6g}"
    highest, low, high = max(heights, default=0.0), edges[0], edges[-1]
    bars = [
        tag(
            "rect",
            x=round(width * _share(start, low, high), 2),
            y=round(height - height * _share(tall, 0, highest), 2),
            width=round(max(width * _share(low + end - start, low, high) - 0.5, 0.5), 2),
            height=round(height * _share(tall, 0, highest), 2),
            class_="bar",
        )
        for start, end, tall in zip(edges, edges[1:], heights, strict=False)
    ]
    box = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    return tag("svg", tag("title", title), *bars, role="img", aria_label=title, **box)


def share_bar(share: float) -> Element:
    """A bar as long as this share of the whole, with the number beside it."""
    bar = tag("rect", x=0, y=3, width=round(70 * share, 2), height=10, class_="bar")
    number = tag("text", f"{share:.1%}", x=76, y=12)
    label = f"{share:.1%} of the gain"
    return tag(
        "svg", bar, number, role="img", aria_label=label, viewBox="0 0 120 16", width=120, height=16
    )


def _spans(decisions: Decisions, low: float, high: float) -> list[tuple[str, float, float]]:
    starts = [min(max(band.since, low), high) for band in decisions.bands]
    ends = [*starts[1:], high]
    return [
        (band.decision, start, end)
        for band, start, end in zip(decisions.bands, starts, ends, strict=True)
    ]


def _band(
    place: int, decision: str, start: float, end: float, low: float, high: float
) -> list[Element]:
    left, right = _across(start, low, high), _across(end, low, high)
    area = {"x": left, "y": TOP, "width": round(right - left, 2), "height": HEIGHT - TOP - BOTTOM}
    # Names of neighbours stand on two lines, so that narrow bands do not write over each other.
    height = TOP - 4 - 11 * (place % 2)
    return [
        tag(
            "rect", tag("title", f"{decision}: from {start:.6g}"), class_=f"band{place % 2}", **area
        ),
        tag("text", decision, x=round((left + right) / 2, 2), y=height, text_anchor="middle"),
    ]


def _bar(left: float, right: float, share: float, count: int) -> Element:
    tall = round((HEIGHT - TOP - BOTTOM) * share, 2)
    wide = round(max(right - left - 1, 0.5), 2)
    top = round(HEIGHT - BOTTOM - tall, 2)
    title = tag("title", f"{count} events")
    return tag("rect", title, x=left, y=top, width=wide, height=tall, class_="bar")


def _densities(bins: Bins) -> list[float]:
    """Events by width; one bin alone is as high as its count, however narrow it is."""
    if len(bins.counts) == 1:
        return [float(bins.counts[0])]
    with np.errstate(over="ignore", divide="ignore"):
        found = np.array(bins.counts) / np.diff(np.array(bins.edges))
    return [float(density) for density in found]


def _across(value: float, low: float, high: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * _share(value, low, high), 2)


def _share(value: float, low: float, high: float) -> float:
    """How far from low to high, 0 to 1; 0 where that is no number."""
    share = (value - low) / (high - low) if high > low else 0.0
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0


def _points(
    across: Sequence[float],
    up: Sequence[float],
    across_range: tuple[float, float],
    up_range: tuple[float, float],
) -> str:
    tall = HEIGHT - TOP - BOTTOM
    return " ".join(
        f"{_across(x, *across_range)},{round(HEIGHT - BOTTOM - tall * _share(y, *up_range), 2)}"
        for x, y in zip(across, up, strict=True)
    )


def _axis(low: float, high: float, name: str) -> list[Element]:
    floor = HEIGHT - BOTTOM
    marks = [low + (high - low) * step / 4 for step in range(5)]
    return [
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor, class_="axis"),
        *(
            tag("text", text(mark), x=_across(mark, low, high), y=floor + 14, text_anchor="middle")
            for mark in marks
        ),
        tag("text", name, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 2, text_anchor="middle"),
    ]


def _figure(label: str, parts: Sequence[Element]) -> Element:
    box = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class_": "plot"}
    svg = tag("svg", *parts, role="img", aria_label=label, **box)
    return tag("figure", svg, tag("figcaption", label))
