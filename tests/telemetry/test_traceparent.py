"""Whatever is in a header: exactly W3C's form, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.telemetry.traceparent import Context, context_of, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


def test_a_context_is_read() -> None:
    """Trace, span and whether it was sampled."""
    assert parse(GOOD) == Context(int(TRACE, 16), int(SPAN, 16), True)
    assert parse(GOOD[:-1] + b"0") == Context(int(TRACE, 16), int(SPAN, 16), False)


def test_a_later_version_may_have_more() -> None:
    """Level 1 says: read what is known of it, if a dash follows."""
    assert parse(b"cc" + GOOD[2:] + b"-what-the-future-will-be-like") is not None
    assert parse(b"cc" + GOOD[2:]) is not None


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        GOOD.upper(),
        GOOD + b"-more",
        GOOD + b"\n",
        b" " + GOOD,
        GOOD[:-1],
        b"ff" + GOOD[2:],
        b"cc" + GOOD[2:] + b"more",
        b"cc" + GOOD[2:] + b"-" + b"x" * 10_000,
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-0g".encode(),
        f"00_{TRACE}_{SPAN}_01".encode(),
        "00-\u0660af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".encode(),
        b"\xff\xfe" * 30,
    ],
)
def test_what_is_not_of_the_form_is_not_there(content: bytes | None) -> None:
    """Hostile or merely wrong, it does not matter which."""
    assert parse(content) is None


def test_two_of_them_are_none() -> None:
    """Which of two is meant, nobody can say; other names do not matter."""
    assert context_of([("traceparent", GOOD), ("traceparent", GOOD)]) is None
    assert context_of([("Traceparent", GOOD)]) is None
    assert context_of(None) is None
    assert context_of([("other", b"x"), ("traceparent", GOOD)]) == parse(GOOD)


@given(st.binary(max_size=300))
def test_no_content_raises(content: bytes) -> None:
    """And what is read has the bits that a context has."""
    found = parse(content)

    assert found is None or (0 < found.trace < 2**128 and 0 < found.span < 2**64)
