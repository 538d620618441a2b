"""The context of a producer's span, from the header `traceparent` (W3C Trace Context, level 1).

Anybody may write a header. What is not exactly of the form is not there; `tracestate` and `baggage`
are not read at all, so that nothing of them can reach a trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADER = "traceparent"
LONGEST = 256
"""A later version may have more behind the flags, but not without end."""
_FORM = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    rb"(?P<more>-.*)?\Z",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Context:
    """Whose span it was."""

    trace: int
    span: int
    sampled: bool


def context_of(headers: Iterable[tuple[str, bytes | None]] | None) -> Context | None:
    """The producer's context; None where there is none, or more than one, or a malformed one."""
    found = [content for name, content in headers or () if name == HEADER]
    return parse(found[0]) if len(found) == 1 else None


def parse(content: bytes | None) -> Context | None:
    """A header's content, if it is exactly of the form."""
    if content is None or len(content) > LONGEST:
        return None
    match = _FORM.match(content)
    if match is None or match["version"] == b"ff":
        return None
    if match["version"] == b"00" and match["more"] is not None:
        return None
    trace, span = int(match["trace"], 16), int(match["span"], 16)
    if not trace or not span:
        return None
    return Context(trace, span, bool(int(match["flags"], 16) & 1))
