"""Messages the client library cannot read in full keep their place."""

from __future__ import annotations

from typing import Any

from workers.enrich.path import Enricher
from workers.stream.messages import to_batch


class Unreadable:
    """A message whose header name is not UTF-8: the client raises SystemError (2.16)."""

    def __init__(self, offset: int, *, readable: bool) -> None:
        self._offset = offset
        self._readable = readable

    def headers(self) -> Any:
        """As the client does."""
        if not self._readable:
            raise SystemError("returned a result with an exception set")
        return [("a", b"b")]

    def key(self) -> bytes:
        """A key."""
        return b"k"

    def value(self) -> bytes:
        """A framed value."""
        return b"\x00\x00\x00\x00\x01"

    def partition(self) -> int:
        """A partition."""
        return 0

    def offset(self) -> int:
        """An offset."""
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        """A timestamp."""
        return (1, 1)


def test_unreadable_headers_are_a_dead_letter_and_harm_no_neighbour(enricher: Enricher) -> None:
    """The record is rejected by name; the one beside it keeps its headers."""
    messages: Any = [Unreadable(0, readable=True), Unreadable(1, readable=False)]

    outcomes = enricher.enrich(to_batch("t", 0, messages))

    assert outcomes.batch.headers == [[("a", b"b")], None]
    assert outcomes.rejected[1].reject.code == "headers_unreadable"
    assert outcomes.rejected[0].reject.code != "headers_unreadable"
