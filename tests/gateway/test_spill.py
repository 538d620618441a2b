"""What was spilled is on the disk, whatever becomes of the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.errors import ClientHalt
from workers.gateway.answers import Renderer
from workers.gateway.replay import Replay, reading
from workers.gateway.spill import Spill, Spilled, SpillFull, read_segment
from workers.testing import EmbeddedBroker, Reader, Sent, produce

SINCE = {("t", 0): 3, ("t", 1): 0}
RECORD = st.builds(
    Spilled,
    st.sampled_from(["t", "topic-é"]),
    st.none() | st.binary(max_size=20),
    st.binary(max_size=200),
    st.integers(0, 2**62),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(RECORD, max_size=4), max_size=5))
def test_what_was_added_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Spilled]]
) -> None:
    """By the next process, in its order."""
    folder = tmp_path_factory.mktemp("spill")
    spill = Spill(folder, 10**6)
    for batch in batches:
        spill.add(batch, SINCE)
    spill.close()

    again = Spill(folder, 10**6)
    found = [read_segment(file) for file in again.seal()]
    again.close()

    assert [r for s in found for r in s.records] == [r for b in batches for r in b]
    assert all(dict(segment.since) == SINCE for segment in found)


def test_a_torn_end_costs_only_what_nobody_was_told_of(tmp_path: Path) -> None:
    """Cut anywhere, and with any byte changed, the records before are read."""
    spill = Spill(tmp_path, 10**6)
    first = [Spilled("t", b"k", b"first", 1)]
    spill.add(first, SINCE)
    (file,) = tmp_path.glob("*.spill")
    kept = file.stat().st_size
    spill.add([Spilled("t", None, b"second", 2)], SINCE)
    spill.close()
    whole = file.read_bytes()

    for end in range(kept, len(whole)):
        file.write_bytes(whole[:end])
        assert read_segment(file).records == first
        file.write_bytes(whole[:end] + bytes([whole[end] ^ 1]) + whole[end + 1 :])
        assert read_segment(file).records == first


def test_a_full_spill_keeps_nothing_of_what_it_refuses(tmp_path: Path) -> None:
    """And goes on with what fits."""
    spill = Spill(tmp_path, 200)
    small = Spilled("t", None, b"x" * 20, 1)
    spill.add([small], SINCE)

    with pytest.raises(SpillFull):
        spill.add([small, Spilled("t", None, b"x" * 200, 1)], SINCE)
    spill.add([small], SINCE)

    (file,) = spill.seal()
    assert read_segment(file).records == [small, small]
    spill.close()


def test_a_folder_is_one_process_s(tmp_path: Path) -> None:
    """Two would replay, and remove, each other's files."""
    spill = Spill(tmp_path, 200)

    with pytest.raises(ClientHalt, match="another process"):
        Spill(tmp_path, 200)
    spill.close()
    Spill(tmp_path, 200).close()


@pytest.fixture
def records(contracts: Catalogue) -> Callable[[int], list[Spilled]]:
    """Decision records for a topic."""
    from workers.contracts.codec import BlockEncoder

    schema = contracts.versions("flights.decisions-value")[2].schema

    def make(count: int) -> list[Spilled]:
        columns: dict[str, Any] = {
            "decision_id": [f"w:@http:0:{number}" for number in range(count)],
            "model": ["m"] * count,
            "model_version": ["1"] * count,
            "score": None,
            "decision": ["d"] * count,
            "fallback": [True] * count,
            "fallback_reason": ["bypassed"] * count,
            "reasons": [[]] * count,
            "scored_at": [1] * count,
            "arm": ["champion"] * count,
            "rule": None,
        }
        values = BlockEncoder(schema).encode(columns, count)
        return [Spilled("", b"%d" % n, frame(301) + v, 5) for n, v in enumerate(values)]

    return make


def test_a_replay_writes_what_is_not_there(
    embedded: EmbeddedBroker,
    contracts: Catalogue,
    records: Callable[[int], list[Spilled]],
    tmp_path: Path,
) -> None:
    """However much of it had reached the broker, and however often it is begun anew."""
    topic = "replayed"
    embedded.create_topic(topic, 3)
    renderer = Renderer(contracts.versions("flights.decisions-value")[2].schema, ["enrichment"])
    config = {"bootstrap.servers": embedded.bootstrap_servers}
    replay = Replay(config, reading(config), {topic: renderer.ids})
    made = [record._replace(topic=topic) for record in records(40)]
    there = made[5:25]
    produce(
        embedded.bootstrap_servers, topic, [Sent(r.value, key=r.key, timestamp=5) for r in there]
    )
    spill = Spill(tmp_path, 10**6)
    spill.add(made, {(topic, 0): 0})
    segment = read_segment(spill.seal()[0])

    assert replay.write(segment) == 20
    assert replay.write(segment) == 0

    spill.done(segment)
    assert spill.empty
    spill.close()
    with Reader(embedded.bootstrap_servers, topic) as reader:
        found = reader.until(lambda read: len(read) >= 40)
        reader.read(0.3)
    assert sorted(r.value or b"" for r in found) == sorted(r.value for r in made)
    assert {r.key for r in found} == {r.key for r in made}
