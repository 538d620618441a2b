"""A dead letter under any limit still says where the record is and why it is here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.contracts.framing import Header
from workers.enrich.batch import Batch, Rejection
from workers.errors import Code, Reject
from workers.stream.deadletters import HEADER_BUDGET, Origin, dead_letter
from workers.stream.records import record_bytes

headers = st.lists(
    st.tuples(
        st.text(max_size=40),
        st.none() | st.binary(max_size=400),
    ),
    max_size=12,
)


def origin(limit: int) -> Origin:
    """A worker with long names."""
    return Origin(
        topic="d" * 249,
        worker="w" * 64,
        instance="i" * 253,
        build="1.2.3",
        model="m" * 64,
        limit=limit,
    )


@given(
    key=st.none() | st.binary(max_size=3000),
    value=st.none() | st.binary(max_size=3000),
    original=st.none() | headers,
    text=st.text(max_size=2000),
    limit=st.integers(4000, 9000),
)
def test_a_dead_letter_fits_and_says_where_and_why(
    key: bytes | None, value: bytes | None, original: list[Header] | None, text: str, limit: int
) -> None:
    """Untouched where it fits; else the coordinates, the verdict, sizes and digests are left."""
    topic = "t" * 249
    batch = Batch(topic, 5, [key], [value], [original], [2**31 - 1], [2**62], [(1, 7)])
    rejection = Rejection(Reject(Code.MALFORMED, text), "decode", 2**32 - 1, "9" * 64)

    record = dead_letter(origin(limit), batch, 0, rejection, 3)

    _, out_key, out_value, out_headers, timestamp, _ = record
    said = dict(out_headers or [])
    assert said["__connect.errors.offset"] == str(2**62).encode()
    assert said["__workers.code"] == b"malformed"
    assert timestamp == 7
    own = (out_headers or [])[len(original or []) :] if out_value == value else []
    assert sum(len(name) + len(content or b"") for name, content in own) <= HEADER_BUDGET
    if out_value == value and out_key == key:
        assert (out_headers or [])[: len(original or [])] == (original or [])
    else:
        assert record_bytes(record) <= max(limit, HEADER_BUDGET)
        assert value is None or said["__workers.value.bytes"] == str(len(value)).encode()
