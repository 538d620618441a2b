"""What a loop tells of itself: a report's figures as metrics, for a collector or as a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from workers.feedback.opening import Loop
from workers.feedback.report import Document
from workers.feedback.run import last_run
from workers.telemetry import loops as n
from workers.telemetry.kinds import Metric
from workers.telemetry.prometheus import Rendering
from workers.telemetry.registry import Registry, Values
from workers.topology import Absent

_BY_VERSION = {"auc": n.AUC, "log_loss": n.LOG_LOSS, "brier": n.BRIER}
_RECENT = {"auc": n.RECENT_AUC, "log_loss": n.RECENT_LOG_LOSS, "brier": n.RECENT_BRIER}
_EARLIER = {"auc": n.EARLIER_AUC, "log_loss": n.EARLIER_LOG_LOSS, "brier": n.EARLIER_BRIER}
_ESTIMATED = {
    "auc": n.ESTIMATED_AUC,
    "log_loss": n.ESTIMATED_LOG_LOSS,
    "brier": n.ESTIMATED_BRIER,
}
Figure = tuple[Metric, float]


def registry_of(loop: Loop, found: Document) -> Registry:
    """The report's figures as gauges; what is not known is left out.

    Raises:
        LakeFault: the notes of the loop's runs cannot be read.
    """
    own = (loop.feedback.name, loop.model.name)
    samples: list[tuple[Metric, Values, float]] = [
        (metric, own, number) for metric, number in _of_loop(loop, found)
    ]
    for version, of in found["versions"].items():
        samples += [(metric, (*own, version), number) for metric, number in _of_version(found, of)]
    known = [(m, v, float(number)) for m, v, number in samples if math.isfinite(number)]
    made = Registry()
    made.watch(lambda: known)
    return made


def textfile(loop: Loop, found: Document) -> str:
    """For node-exporter's textfile collector.

    Raises:
        LakeFault: the notes of the loop's runs cannot be read.
    """
    return Rendering({loop.worker.name: registry_of(loop, found)})().decode()


def _of_loop(loop: Loop, found: Document) -> Iterator[Figure]:
    feedback = loop.feedback
    ran = last_run(loop.log)
    if ran is not None:
        yield n.LAST_RUN, ran.timestamp()
    yield n.RUN_EVERY, feedback.run_every
    yield n.AS_OF, found["as_of"].timestamp()
    yield n.COVERAGE, found["coverage"]
    if feedback.absent is Absent.UNKNOWN:
        yield n.COVERAGE_LEAST, feedback.coverage
    if found["months"]:
        *before, newest = (found["months"][month] for month in sorted(found["months"]))
        yield from _recent(newest)
        yield from _earlier(before)


def _of_version(found: Document, of: Document) -> Iterator[Figure]:
    for measure, metric in _BY_VERSION.items():
        yield metric, of[measure]["value"]
    if of["last"] is not None and of["last"].strftime("%Y-%m") == max(found["months"]):
        yield n.SCORE_DRIFT, of["drift"]["scores"]


def _recent(month: Document) -> Iterator[Figure]:
    yield n.RECENT_DECISIONS, month["scored"]
    yield n.RECENT_LABELLED, month["labelled"]
    for measure, metric in _RECENT.items():
        yield metric, month[measure]["value"]
        yield _ESTIMATED[measure], month["estimated"][measure]
    yield n.RECENT_AUC_HIGH, month["auc"]["high"]
    yield n.RECENT_LOG_LOSS_LOW, month["log_loss"]["low"]
    yield n.RECENT_RELATIVE, relative(month, "value")
    yield n.RECENT_RELATIVE_LOW, relative(month, "low")


def _earlier(months: Sequence[Document]) -> Iterator[Figure]:
    for measure, metric in _EARLIER.items():
        yield metric, _mean([(m["labelled"], m[measure]["value"]) for m in months])
    yield n.EARLIER_RELATIVE, _mean([(m["labelled"], relative(m, "value")) for m in months])
    estimated = [(m["scored"], m["estimated"]["auc"]) for m in months]
    yield n.EARLIER_ESTIMATED_AUC, _mean(estimated)


def relative(month: Document, end: str) -> float:
    """Log loss as a part of that of the mean outcome alone; `end` is `value`, `low` or `high`.

    Months in which more happens have a higher log loss from the same model; of this they have not.
    """
    happened, loss = month["happened"], month["log_loss"][end]
    if not 0 < happened < 1:
        return math.nan
    alone = -(happened * math.log(happened) + (1 - happened) * math.log(1 - happened))
    return float(loss / alone)


def _mean(weighted: Sequence[tuple[Any, float]]) -> float:
    known = [(weight, value) for weight, value in weighted if weight and math.isfinite(value)]
    whole = sum(weight for weight, _ in known)
    return float(sum(weight * value for weight, value in known) / whole) if whole else math.nan
