"""The report as one page of HTML that needs nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from workers.feedback.plots import Line, bars, curve
from workers.feedback.report import Document
from workers.models.card import STYLE
from workers.models.markup import Part, page, table, tag

MORE = (
    STYLE
    + """
.line1 { fill: none; stroke: #c05621; stroke-width: 2; } .line2 { fill: none; stroke: #2f855a;
  stroke-width: 2; } .key0 { fill: var(--bar); } .key1 { fill: #c05621; } .key2 { fill: #2f855a; }
.dot { fill: var(--bar); } .worse { font-weight: 600; }
"""
)


_WEIGHED = {
    "propensity": " Outcomes count by 1 / propensity: as if each of the explored decisions had "
    "been taken as often."
}


def render(found: Document) -> str:
    """The page. Plots are inline, nothing is loaded, nothing runs."""
    title = f"{found['loop']}: {found['model']}"
    parts: list[Part] = [
        tag("h1", title),
        tag(
            "p",
            f"Events from {_day(found['since'])} to {_day(found['until'])}, as known at "
            f"{found['as_of']}; commit {found['commit']} of the lake.",
        ),
        *_coverage(found),
        *_over_time(found["months"]),
        *_arms(found),
    ]
    for version, of in found["versions"].items():
        parts += _version(version, of)
    parts.append(
        tag(
            "p",
            "Intervals are for independent rows; outcomes of one day hang together, so they "
            "are rather too narrow. What is estimated takes scores for right as probabilities."
            + _WEIGHED.get(found["weighting"], ""),
            class_="quiet",
        )
    )
    return page(title, MORE, parts)


def _coverage(found: Document) -> list[Part]:
    states = {
        "known": "the outcome is known",
        "pending": "it may still come",
        "absent": "it has not come in time",
    }
    rows: list[list[Part]] = [
        [name, f"{found['outcomes'].get(name, 0):,}", what] for name, what in states.items()
    ]
    return [
        tag("h2", "Decisions and their outcomes"),
        tag(
            "p",
            f"{found['decisions']:,} decisions. Coverage: of those whose outcome is due, "
            f"{_share(found['coverage'])} have one. {found['corrected']:,} were corrected, "
            f"{found['late']:,} came late.",
        ),
        table(["outcome", "decisions", ""], rows),
        tag("h3", "Decision mix"),
        bars("Decisions", found["mix"]),
        *(
            [bars("Decided without the model", found["without_the_model"])]
            if found["without_the_model"]
            else []
        ),
    ]


def _over_time(months: Mapping[str, Document]) -> list[Part]:
    names = list(months)
    if not names:
        return []
    rows: list[list[Part]] = [
        [
            name,
            f"{m['decisions']:,}",
            f"{m['labelled']:,}",
            _number(m["happened"]),
            _interval(m["auc"]),
            _interval(m["log_loss"]),
            _number(m["estimated"]["auc"]),
        ]
        for name, m in months.items()
    ]
    head = ["month", "decisions", "labelled", "happened", "AUC", "log loss", "estimated AUC"]
    plots: list[Part] = []
    if len(names) > 1:
        real = Line("measured", [m["auc"]["value"] for m in months.values()])
        guess = Line("estimated", [m["estimated"]["auc"] for m in months.values()])
        plots = [curve("AUC by month", names, [real, guess])]
    return [tag("h2", "Over time"), *plots, table(head, rows)]


def _arms(found: Document) -> list[Part]:
    parts: list[Part] = []
    for kind, why in (("canary", "other keys, the same days"), ("shadow", "the same events")):
        of = found[kind]
        if of is None:
            continue
        rows: list[list[Part]] = [
            ["AUC, challenger less champion", _interval(of["auc"])],
            ["log loss, challenger less champion", _interval(of["log_loss"])],
            ["labelled", str(of["labelled"])],
            ["versions", str(of["versions"])],
        ]
        parts += [tag("h2", f"The {kind}: {why}"), table([], rows)]
    return parts


def _version(version: str, of: Document) -> list[Part]:
    rows: list[list[Part]] = [
        ["decisions", f"{of['decisions']:,}"],
        ["labelled", f"{of['labelled']:,}"],
        ["happened", _number(of["happened"])],
        ["AUC", _interval(of["auc"])],
        ["log loss", _interval(of["log_loss"])],
        ["Brier", _interval(of["brier"])],
        ["calibration error", _number(of["calibration_error"])],
        ["estimated AUC, log loss, Brier", ", ".join(map(_number, of["estimated"].values()))],
    ]
    if of["effective"] != of["labelled"]:
        rows.insert(2, ["as good as so many that weigh alike", f"{of['effective']:,.0f}"])
    if of["cost"] is not None:
        rows.append(["declared cost of a decision", _interval(of["cost"])])
    parts: list[Part] = [tag("h2", f"Version {version}"), table([], rows)]
    if of["calibration"]:
        parts += [_calibration(of["calibration"]), *_lift(of["lift"]), *_thresholds(of)]
    parts += [bars(f"Decisions of version {version}", of["mix"]), *_drift(of["drift"])]
    for name, values in of["segments"].items():
        parts += _segment(name, values)
    return parts


def _calibration(bins: Sequence[Document]) -> Element:
    points = [(each["score"], each["happened"]) for each in bins]
    return curve(
        "Calibration: what happened, by score; dashed: as often as the score says",
        None,
        [Line("happened", [y for _, y in points], [x for x, _ in points])],
        diagonal=True,
    )


def _lift(lift: Sequence[Document]) -> list[Part]:
    if not lift:
        return []
    line = Line("found", [0.0, *(s["found"] for s in lift)], [0.0, *(s["share"] for s in lift)])
    label = "Lift: of all that happened, the part among the highest scores; dashed: by chance"
    return [curve(label, None, [line], diagonal=True)]


def _thresholds(of: Document) -> list[Part]:
    rows: list[list[Part]] = [
        [
            _number(t["since"]),
            _share(t["share"]),
            _share(t["precision"]),
            _share(t["recall"]),
            _number(t["lift"]),
        ]
        for t in of["thresholds"]
    ]
    return [
        tag("h3", "Thresholds"),
        table(["score from", "share", "precision", "recall", "lift"], rows),
    ]


def _drift(drift: Document) -> list[Part]:
    everything = {"the scores": drift["scores"], **drift["features"]}
    known = {name: value for name, value in everything.items() if not math.isnan(value)}
    if not known:
        return []
    worst = dict(sorted(known.items(), key=lambda item: -item[1])[:20])
    rows: list[list[Part]] = [
        [name, tag("span", _number(v), class_="worse" if v > 0.25 else "")]
        for name, v in worst.items()
    ]
    return [
        tag("h3", "Drift since training"),
        tag(
            "p",
            "Population stability index; under 0.1 is little, over 0.25 is much.",
            class_="quiet",
        ),
        table(["of", "index"], rows),
    ]


def _segment(name: str, values: Mapping[str, Document]) -> list[Part]:
    rows: list[list[Part]] = [
        [
            value,
            f"{q['labelled']:,}",
            _number(q["happened"]),
            _interval(q["auc"]),
            _interval(q["log_loss"]),
            _number(q["calibration_error"]),
        ]
        for value, q in values.items()
    ]
    head = [name, "labelled", "happened", "AUC", "log loss", "calibration error"]
    return [tag("h3", f"By {name}"), table(head, rows)] if rows else []


def _day(value: Any) -> str:
    return f"{value:%Y-%m-%d}"


def _number(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:.4g}"


def _share(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:.1%}"


def _interval(of: Document) -> str:
    if math.isnan(of["value"]):
        return "not known"
    return f"{of['value']:.4f} ({of['low']:.4f} to {of['high']:.4f})"
