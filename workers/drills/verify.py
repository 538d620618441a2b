"""What came out held against what went in, by a reader that shares nothing with the worker.

An input record is known by its partition and offset: enriched events say theirs in
`enrichment.decision_id`, dead letters in Kafka Connect's headers. Events are decoded with fastavro,
one by one; the worker decodes columns.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro

from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import PREFIX
from workers.drills.report import Check, Mark, Question, check
from workers.testing import OutRecord

Origin = tuple[int, int]
"""Partition and offset of an input record."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an input record; `block` is the enrichment, None for a dead letter."""

    origin: Origin
    record: OutRecord
    block: Mapping[str, Any] | None


def outcomes(
    records: Sequence[OutRecord], dead_letters: str, contracts: Catalogue
) -> list[Outcome]:
    """Each record of output and dead-letter topic, with where it came from."""
    return [
        _dead(record) if record.topic == dead_letters else _enriched(record, contracts)
        for record in records
    ]


def _dead(record: OutRecord) -> Outcome:
    place = (record.header(f"__connect.errors.{name}") for name in ("partition", "offset"))
    partition, offset = (int(text) for text in place)
    return Outcome((partition, offset), record, None)


def _enriched(record: OutRecord, contracts: Catalogue) -> Outcome:
    value = record.value or b""
    entry = contracts.find(int.from_bytes(value[1:PREFIX], "big"))
    if entry is None:
        raise ValueError(f"{record.topic}: an event under a schema that is in no contract")
    event: Any = fastavro.schemaless_reader(io.BytesIO(value[PREFIX:]), entry.schema.parsed, None)
    block = event["enrichment"]
    partition, offset = block["decision_id"].rsplit(":", 2)[-2:]
    return Outcome((int(partition), int(offset)), record, block)


def each_once(
    inputs: Sequence[OutRecord], found: Sequence[Outcome], doubled_at_most: int | None = 0
) -> Check:
    """Every input record is in output or dead letters, and there once.

    With `doubled_at_most` so many more may be there again; None: any number, but none is lost.
    """
    times = Counter(each.origin for each in found)
    sent = {(record.partition, record.offset) for record in inputs}
    lost, strange = sorted(sent - times.keys()), sorted(times.keys() - sent)
    doubled = sum(count - 1 for count in times.values())
    enriched = len({each.origin for each in found if each.block is not None})
    dead = len({each.origin for each in found if each.block is None})
    both = enriched + dead - len(times)
    limit = doubled if doubled_at_most is None else doubled_at_most
    twice = "once"
    if doubled_at_most != 0:
        some = "some" if doubled_at_most is None else f"at most {doubled_at_most:,}"
        twice = f"at least once ({some} may come twice under at_least_once)"
    expected = f"each of {len(sent):,} records is enriched or a dead letter {twice}; none is lost"
    seen = f"{enriched:,} enriched, {dead:,} dead letters, {len(lost)} lost, {doubled} twice"
    seen += "".join(
        f", {len(places)} {what} (partition, offset: {places[:SHOWN]})"
        for what, places in (("missing", lost), ("that nobody sent", strange))
        if places
    )
    if both:
        seen += f", {both} enriched and dead letter"
    held = not (lost or strange or both) and doubled <= limit
    return check(expected, seen, held=held)


def order_per_key(inputs: Sequence[OutRecord], found: Sequence[Outcome]) -> Check:
    """In every key the enriched events come in the order of the input.

    Of a record that came twice the first counts.
    """
    keys = {(record.partition, record.offset): record.key for record in inputs}
    firsts: dict[bytes | None, list[Origin]] = defaultdict(list)
    places: dict[bytes | None, set[int]] = defaultdict(set)
    seen_before = set[Origin]()
    for each in found:
        if each.block is not None and each.origin not in seen_before:
            seen_before.add(each.origin)
            firsts[keys.get(each.origin)].append(each.origin)
            places[keys.get(each.origin)].add(each.record.partition)
    # A key has one input partition, so offsets alone order it.
    moved = [key for key, order in firsts.items() if order != sorted(order)]
    split = [key for key, partitions in places.items() if len(partitions) > 1]
    return check(
        "in every key the events come out in the order in which they went in",
        f"{len(firsts):,} keys, {len(moved)} out of order, {len(split)} over several partitions",
        held=not moved and not split,
    )


def dead_letters_are(
    inputs: Sequence[OutRecord], found: Sequence[Outcome], expected: Collection[Origin]
) -> Check:
    """The dead letters are these records and no others, byte for byte, with a reason."""
    sent = {(record.partition, record.offset): record for record in inputs}
    dead = {each.origin: each.record for each in found if each.block is None}
    wrong = sorted(set(expected) ^ dead.keys())
    changed = [
        origin
        for origin, record in dead.items()
        if origin in sent and not untouched(sent[origin], record)
    ]
    unsaid = [origin for origin, record in dead.items() if not record.header("__workers.code")]
    codes = Counter(record.header("__workers.code") for record in dead.values())
    said = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
    seen = f"{len(dead)} dead letters ({said or 'none'}), {len(changed)} changed"
    if wrong:
        seen += f", {len(wrong)} wrongly there or not there (partition, offset: {wrong[:SHOWN]})"
    text = (
        f"the {len(expected)} bad records, and only these, are dead letters, byte for byte, each "
        "with its reason"
        if expected
        else "no good record becomes a dead letter"
    )
    held = not (wrong or changed or unsaid)
    return check(text, seen, Question.FAILURE, Question.CONTRACTS, held=held)


def untouched(sent: OutRecord, dead: OutRecord) -> bool:
    """Key, value and timestamp as they came; the headers too, with ours behind them."""
    return (sent.key, sent.value, sent.timestamp[1]) == (
        dead.key,
        dead.value,
        dead.timestamp[1],
    ) and dead.headers[: len(sent.headers)] == sent.headers


def bytes_kept(inputs: Sequence[OutRecord], found: Sequence[Outcome]) -> Check:
    """An enriched event begins with the bytes of the event that came in."""
    sent = {(record.partition, record.offset): record.value or b"" for record in inputs}
    enriched = [each for each in found if each.block is not None]
    changed = sum(
        not (each.record.value or b"")[PREFIX:].startswith(sent.get(each.origin, b"")[PREFIX:])
        for each in enriched
    )
    return check(
        "an enriched event is the event that came in, its bytes unchanged, and the model's word",
        f"{len(enriched):,} events read with a reader of another make, {changed} changed",
        Question.CONTRACTS,
        held=not changed,
    )


def offsets_at_end(committed: Mapping[int, int] | None, inputs: Sequence[OutRecord]) -> Check:
    """The group's offsets stand behind the last record; None where the broker keeps none."""
    expected = "the group's offsets stand behind the last record: a restart repeats nothing"
    if committed is None:
        why = "the embedded broker forgets a transaction's offsets; `--broker kafka` shows it"
        return Check(expected, why, Mark.NOT_SHOWN)
    ends: dict[int, int] = {}
    for record in inputs:
        ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
    stand = {partition: committed.get(partition, 0) for partition in ends}
    behind = {p: end - stand[p] for p, end in ends.items() if end != stand[p]}
    seen = f"{len(ends)} partitions" + (f", behind by {behind}" if behind else ", all at the end")
    return check(expected, seen, held=not behind)


def percentiles(milliseconds: Sequence[int]) -> tuple[float, float]:
    """Median and 99th percentile, in seconds."""
    ordered = sorted(milliseconds)
    return ordered[len(ordered) // 2] / 1000, ordered[int(len(ordered) * 0.99)] / 1000
