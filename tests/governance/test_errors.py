"""Nothing that can go wrong is without a class: every code, every exception."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import workers
from workers.errors import CAUSES, Code, ExitCode, Halt, Reject, Retry, Verdict, WorkersError
from workers.governance.documents.errors import EXITS, INNER, KAFKA, errors_page
from workers.stream.failures import CODES, MEANINGS, Meaning

ASIDE = ("workers.testing", "workers.demo", "workers.drills")
"""What users' tests, the demo and drills are made of: no part of a worker."""


def modules() -> Iterator[str]:
    """Every module of the package, but for programs."""
    for found in pkgutil.walk_packages(workers.__path__, "workers."):
        if not found.name.endswith("__main__") and not found.name.startswith(ASIDE):
            yield found.name


def exceptions() -> dict[str, type[BaseException]]:
    """Every exception class that a module of the package defines."""
    found = {}
    for name in modules():
        for value in vars(importlib.import_module(name)).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseException)
                and value.__module__ == name
            ):
                found[f"{name}.{value.__qualname__}"] = value
    return found


def test_every_exception_is_reject_retry_or_halt_or_is_said_what_it_becomes() -> None:
    """A new class that is neither fails here."""
    found = exceptions()
    inner = {
        name
        for name, kind in found.items()
        if not issubclass(kind, (Reject, Retry, Halt)) and kind is not WorkersError
    }

    assert inner == INNER.keys()
    assert len(found) > 15


def test_no_exception_is_of_two_kinds() -> None:
    """What to do next is never in doubt."""
    for kind in exceptions().values():
        assert sum(issubclass(kind, each) for each in (Reject, Retry, Halt)) <= 1


def test_every_code_of_a_dead_letter_has_one_cause() -> None:
    """And every verdict has a code."""
    assert CAUSES.keys() == set(Code)
    assert {cause.verdict for cause in CAUSES.values()} == set(Verdict)


def test_the_page_has_everything() -> None:
    """Codes, exit codes, and every error that the client names."""
    page = errors_page()

    assert EXITS.keys() == set(ExitCode)
    assert KAFKA.keys() == MEANINGS.keys() == set(Meaning)
    for name in (*Code, *CODES.values(), *INNER):
        assert f"`{name}`" in page
