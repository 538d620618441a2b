"""A report's figures for Prometheus, as a file that node-exporter's textfile collector reads."""

from __future__ import annotations

import math
from collections.abc import Iterator

from workers.feedback.report import Document

_MEASURES = ("auc", "log_loss", "brier")
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def textfile(found: Document) -> str:
    """Gauges of coverage, versions and the newest month; what is not known is left out."""
    lines = []
    for name, what, values in _gauges(found):
        known = [(labels, value) for labels, value in values if math.isfinite(value)]
        if known:
            lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge"]
            lines += [f"{name}{{{_labels(found, labels)}}} {value:.9g}" for labels, value in known]
    return "\n".join(lines) + "\n"


Values = list[tuple[dict[str, str], float]]


def _gauges(found: Document) -> Iterator[tuple[str, str, Values]]:
    months = found["months"]
    newest = months[max(months)] if months else None
    yield (
        "workers_feedback_coverage",
        "Share of due outcomes that are known.",
        [({}, found["coverage"])],
    )
    yield (
        "workers_feedback_as_of_seconds",
        "When this was known.",
        [({}, found["as_of"].timestamp())],
    )
    for measure in _MEASURES:
        by_version: Values = [
            ({"version": v}, of[measure]["value"]) for v, of in found["versions"].items()
        ]
        yield f"workers_feedback_{measure}", f"{measure} of a version's decisions.", by_version
        if newest is not None:
            recent: Values = [({}, newest[measure]["value"])]
            guess: Values = [({}, newest["estimated"][measure])]
            what = f"{measure} of the newest month's decisions"
            yield f"workers_feedback_recent_{measure}", f"{what}.", recent
            yield f"workers_feedback_estimated_{measure}", f"{what}, estimated.", guess
    drifts: Values = [
        ({"version": v}, of["drift"]["scores"]) for v, of in found["versions"].items()
    ]
    yield "workers_feedback_score_drift", "Population stability index of scores.", drifts


def _labels(found: Document, labels: dict[str, str]) -> str:
    whole = {"loop": found["loop"], "model": found["model"], **labels}
    return ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in whole.items())
