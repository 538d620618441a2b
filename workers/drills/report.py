"""What a drill did and saw, in words: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Question(StrEnum):
    """The five that have tested answers before a model may decide."""

    FAILURE = "What happens when a part of it fails?"
    LATENCY = "Does it keep to its time?"
    CONTRACTS = "Are its data contracts held to?"
    SEEN = "Can one see what it does?"
    BACK = "Can one go back to non-AI behaviour?"


class Mark(StrEnum):
    """How a check ended; `NOT_SHOWN` says neither, and why."""

    PASS = "PASS"  # noqa: S105  no password
    FAIL = "FAIL"
    NOT_SHOWN = "NOT SHOWN"


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: what was to be expected, what was seen, whom it answers."""

    expected: str
    seen: str
    mark: Mark
    questions: tuple[Question, ...] = (Question.FAILURE,)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "mark": self.mark.value,
            "expected": self.expected,
            "seen": self.seen,
            "questions": [question.value for question in self.questions],
        }


def check(expected: str, seen: str, *questions: Question, held: bool) -> Check:
    """A check that passed or failed; without questions it answers the first."""
    mark = Mark.PASS if held else Mark.FAIL
    return Check(expected, seen, mark, questions or (Question.FAILURE,))


@dataclass(frozen=True, slots=True)
class DrillReport:
    """One drill. `did` are its steps, `settings` what it ran with and is not the user's."""

    name: str
    title: str
    place: str
    settings: tuple[str, ...]
    did: tuple[str, ...]
    checks: tuple[Check, ...]
    seconds: float

    @property
    def mark(self) -> Mark:
        """It failed where one check did; it passed where at least one did and none failed."""
        return worst(self.checks)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "drill": self.name,
            "mark": self.mark.value,
            "title": self.title,
            "place": self.place,
            "settings": list(self.settings),
            "did": list(self.did),
            "checks": [each.document() for each in self.checks],
            "seconds": round(self.seconds, 1),
        }


def worst(checks: Sequence[Check]) -> Mark:
    """FAIL where one failed, else PASS where one passed, else NOT SHOWN."""
    marks = {each.mark for each in checks}
    return next((mark for mark in (Mark.FAIL, Mark.PASS) if mark in marks), Mark.NOT_SHOWN)


def verdict(checks: Sequence[Check]) -> str:
    """For people: the mark, and how many promises could not be shown."""
    mark, left = worst(checks), sum(each.mark is Mark.NOT_SHOWN for each in checks)
    return f"{mark.value} ({left} not shown)" if left and mark is not Mark.NOT_SHOWN else mark.value


def answers(reports: Sequence[DrillReport]) -> dict[Question, dict[str, list[Check]]]:
    """The checks that answer each question, by drill."""
    found: dict[Question, dict[str, list[Check]]] = {}
    for question in Question:
        said = {
            report.name: [each for each in report.checks if question in each.questions]
            for report in reports
        }
        found[question] = {name: checks for name, checks in said.items() if checks}
    return found


def document(reports: Sequence[DrillReport]) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "mark": worst([each for report in reports for each in report.checks]).value,
        "drills": [report.document() for report in reports],
        "questions": [
            {
                "question": question.value,
                "mark": worst(_together(by_drill)).value,
                "drills": {name: worst(checks).value for name, checks in by_drill.items()},
            }
            for question, by_drill in answers(reports).items()
        ],
    }


def drill_text(report: DrillReport) -> str:
    """One drill, for people."""
    lines = [f"{report.name}: {report.title}", f"  on {report.place}"]
    lines += [f"  changed for the drill: {each}" for each in report.settings]
    lines += [f"  did   {each}" for each in report.did]
    for each in report.checks:
        lines.append(f"  {each.mark.value:<9}  {each.expected}")
        lines.append(f"             seen: {each.seen}")
    lines.append(f"  {report.name}: {verdict(report.checks)} in {report.seconds:.0f} s")
    return "\n".join(lines)


def questions_text(reports: Sequence[DrillReport]) -> str:
    """The five questions, for people."""
    lines = ["The five questions"]
    for number, (question, by_drill) in enumerate(answers(reports).items(), start=1):
        marks = {name: worst(checks) for name, checks in by_drill.items()}
        shown = ", ".join(
            name if mark is Mark.PASS else f"{name} {mark.value}" for name, mark in marks.items()
        )
        answer = verdict(_together(by_drill))
        lines.append(f"  {number}. {question:<40} {answer:<20}  {shown or 'no drill of these'}")
    return "\n".join(lines)


def _together(by_drill: Mapping[str, Sequence[Check]]) -> list[Check]:
    return [each for checks in by_drill.values() for each in checks]
