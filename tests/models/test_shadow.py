"""A challenger's process answers as its model does; whatever else it does is a named failure."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.challengers import command
from workers.contracts.catalogue import Catalogue
from workers.contracts.resolution import VersionReader
from workers.contracts.schema import Schema, parse
from workers.errors import ModelError
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.models.shadow import frames
from workers.models.shadow.challenger import Challenger, challenger
from workers.models.shadow.comparison import count, failed, opinion
from workers.models.shadow.counts import CountsState, Fault
from workers.models.shadow.frames import HEADER, BadFrame
from workers.models.shadow.offer import Offer, in_share, joined
from workers.models.shadow.process import COMMAND, Child, ChildFailed, Closing
from workers.models.shadow.runner import RunState

PATIENCE = 60.0


@pytest.fixture(scope="module")
def schema(contracts: Catalogue) -> Schema:
    """Of the demo's events."""
    return contracts.versions("flights-value")[1].schema


@pytest.fixture(scope="module")
def proven(bundle: Bundle, schema: Schema) -> Challenger:
    """The demo's model."""
    return challenger(bundle, schema)


@pytest.fixture(scope="module")
def table(proven: Challenger, schema: Schema, flights: list[bytes]) -> pa.RecordBatch:
    """4,000 events, as the champion's columns."""
    return VersionReader(schema, schema, list(proven.columns)).decode(flights).table


@contextmanager
def running(how: str | None = None) -> Iterator[Child]:
    """The real process, or one that goes wrong."""
    child = Child(COMMAND if how is None else command(how), threading.Event())
    try:
        yield child
    finally:
        child.end()


def gone(pid: int) -> bool:
    """Is there no such process, or only what its parent has not fetched?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_process_scores_as_the_model_does(
    bundle: Bundle, proven: Challenger, table: pa.RecordBatch
) -> None:
    """Bit for bit: whole batches, one row, none."""
    with running() as child:
        child.load(bundle, PATIENCE)
        found = [child.score(part, PATIENCE) for part in (table, table.slice(7, 1), table[:0])]

    expected = Model(bundle).score(table)
    assert np.array_equal(found[0]["score"], expected.scores)
    assert np.array_equal(found[0]["band"], expected.bands)
    assert not found[0]["state"].any()
    assert found[1][0] == found[0][7]
    assert len(found[2]) == 0
    assert gone(child.pid)


def test_rows_without_a_score_say_why(
    bundle: Bundle, schema: Schema, table: pa.RecordBatch
) -> None:
    """A feature out of its range, and a score out of its own, are two things."""
    manifest = bundle.manifest
    *others, seats = manifest.features
    strict = seats.model_copy(update={"range": (0.0, 250.0)})
    narrow = manifest.model_copy(update={"features": (*others, strict), "score_range": (0.0, 0.5)})
    changed = replace(bundle, manifest=narrow)
    expected = Model(changed).score(table)
    assert expected.rejections
    assert expected.failed

    with running() as child:
        child.load(changed, PATIENCE)
        made = opinion(child.score(table, PATIENCE), challenger(changed, schema))

    failures = made.failure.to_pylist()
    assert {r for r, why in enumerate(failures) if why == "features"} == set(expected.rejections)
    assert {r for r, why in enumerate(failures) if why == "nan"} == set(expected.failed)
    assert made.decision.null_count == len(expected.rejections) + len(expected.failed)
    assert np.isnan(made.scores).sum() == made.decision.null_count


WAYS = [
    ("hang", Fault.HANG, "no answer in time"),
    ("deaf", Fault.HANG, "no answer in time"),
    ("leave", Fault.CRASH, "ended with 3"),
    ("crash", Fault.CRASH, "SIGSEGV"),
    ("still", Fault.CRASH, "closed its pipes"),
    ("bands", Fault.GARBAGE, "band"),
    ("garbage", Fault.GARBAGE, "frame"),
    ("short", Fault.GARBAGE, "13 bytes"),
    ("huge", Fault.GARBAGE, "1073741824 bytes"),
    ("twice", Fault.GARBAGE, "before the question"),
    ("flood", Fault.GARBAGE, "frame"),
]


@pytest.mark.parametrize(("how", "fault", "why"), WAYS)
def test_what_goes_wrong_has_a_name(
    proven: Challenger, table: pa.RecordBatch, how: str, fault: Fault, why: str
) -> None:
    """And the process is gone afterwards, whatever it was doing."""
    seconds = 0.2 if fault is Fault.HANG else PATIENCE
    run = RunState(proven, command(how), threading.Event())
    run.start()
    assert run.child is not None
    pid = run.child.pid

    def ask_twice() -> None:
        # The second question finds what the first one left behind.
        for _ in range(2):
            run.score(table, seconds)

    with pytest.raises(ChildFailed, match=why) as caught:
        ask_twice()
    run.fail()

    assert caught.value.fault is fault
    assert gone(pid)


def test_a_process_that_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    """There is no such program."""
    with pytest.raises(ChildFailed, match="cannot be started"):
        Child([str(tmp_path / "nothing")], threading.Event())


def test_a_bundle_that_does_not_load_is_refused_with_the_reason(bundle: Bundle) -> None:
    """By the process: the worker never tries."""
    other = bundle.manifest.features[0].model_copy(update={"name": "nobody"})
    manifest = bundle.manifest.model_copy(update={"features": (other,)})

    with running() as child, pytest.raises(ChildFailed, match="nobody") as caught:
        child.load(replace(bundle, manifest=manifest), PATIENCE)

    assert caught.value.fault is Fault.REFUSED


def test_an_answer_is_not_waited_for_while_closing(bundle: Bundle, table: pa.RecordBatch) -> None:
    """However long it may take by its deadline."""
    closing = threading.Event()
    child = Child(command("hang"), closing)
    try:
        child.load(bundle, PATIENCE)
        timer = threading.Timer(0.05, closing.set)
        timer.start()
        with pytest.raises(Closing):
            child.score(table, 3600.0)
        timer.join()
    finally:
        child.end()
    assert gone(child.pid)


PARENT = """
import sys, threading
from pathlib import Path
import pyarrow as pa
from tests.models.challengers import command
from workers.models.bundle import read_bundle
from workers.models.shadow.process import Child
root, version = Path(sys.argv[1]), sys.argv[2]
with pa.ipc.open_stream(sys.stdin.buffer) as stream:
    table = stream.read_next_batch()
child = Child(command("hang"), threading.Event())
child.load(read_bundle(root.parent, root.name, version), 60)
print(child.pid, flush=True)
child.score(table, 3600)
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_no_process(table: pa.RecordBatch) -> None:
    """Even in the middle of a prediction that never ends."""
    root = Path(__file__).parents[2]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_batch(table)
    arguments = [sys.executable, "-c", PARENT, str(root / "models" / "flight-delay"), "1"]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(sink.getvalue())
        parent.stdin.flush()
        pid = int(parent.stdout.readline())
        pause, loaded = threading.Event(), _cpu(pid)
        while _cpu(pid) < loaded + 0.3:
            pause.wait(0.05)
        assert not gone(pid)

        os.kill(parent.pid, signal.SIGKILL)

        for _ in range(200):
            if gone(pid):
                break
            pause.wait(0.05)
    assert gone(pid)


def _cpu(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@given(st.binary(min_size=HEADER.size, max_size=HEADER.size))
def test_no_bytes_are_taken_for_a_frame_that_are_none(read: bytes) -> None:
    """Or they begin as one, of a known kind and a length that is allowed."""
    try:
        _, _, length = frames.parse(read)
    except BadFrame:
        return
    assert read.startswith(frames.MAGIC)
    assert length <= frames.LONGEST


def test_a_frame_that_is_cut_off_is_the_end() -> None:
    """In its head or in its content."""
    whole = frames.header(frames.Kind.SCORE, 7, 3) + b"abc"

    assert frames.read_frame(io.BytesIO(whole)) == (frames.Kind.SCORE, 7, b"abc")
    for length in range(len(whole)):
        assert frames.read_frame(io.BytesIO(whole[:length])) is None


def offer(rows: int, keys: list[bytes | None], decided: dict[int, str] | None = None) -> Offer:
    """Of rows with these keys, in turn."""
    return Offer(
        champion="1",
        table=pa.RecordBatch.from_pydict({"x": [float(row) for row in range(rows)]}),
        scores=np.linspace(0, 1, rows),
        rows=range(rows),
        decided=dict.fromkeys(range(rows), "late") if decided is None else decided,
        origin="w:t",
        keys=[keys[row % len(keys)] for row in range(rows)],
        partitions=[0] * rows,
        offsets=list(range(rows)),
        timestamps=[(1, row) for row in range(rows)],
    )


@given(st.binary(max_size=40), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_larger_share_has_what_a_smaller_one_has(key: bytes, one: float, other: float) -> None:
    """So a share that grows goes on with the same keys."""
    assert in_share([key], min(one, other)) <= in_share([key], max(one, other))


def test_a_key_is_always_in_or_always_out() -> None:
    """About as many as the share says; records without key are chosen one by one."""
    names: list[bytes | None] = [b"key-%d" % number for number in range(500)]
    keyed, bare = offer(2000, names), offer(2000, [None])

    chosen, single = keyed.asked(0.2), bare.asked(0.2)

    taken = Counter(chosen.keys)
    assert set(taken.values()) == {4}
    assert 60 < len(taken) < 140
    assert 300 < len(single) < 500
    assert len(keyed.asked(1.0)) == 2000


def test_what_ended_as_a_dead_letter_is_not_compared() -> None:
    """There is no decision to compare with."""
    found = offer(4, [b"k"], {0: "late", 2: "late"})

    asked = found.asked(1.0)
    assert found.size == len(asked) == 2
    assert asked.ids.to_pylist() == ["w:t:0:0", "w:t:0:2"]
    assert asked.scores.tolist() == found.scores[[0, 2]].tolist()
    assert asked.table.column("x").to_pylist() == [0.0, 2.0]


def test_rows_that_are_not_in_the_order_of_their_batch_keep_what_is_theirs() -> None:
    """Those of one version come before those of another."""
    found = replace(offer(4, [b"a", b"b", b"c", b"d"]), rows=[1, 3, 0, 2])

    asked = found.asked(1.0)

    assert asked.keys == [b"b", b"d", b"a", b"c"]
    assert asked.stamps == [1, 3, 0, 2]
    assert asked.ids.to_pylist() == ["w:t:0:1", "w:t:0:3", "w:t:0:0", "w:t:0:2"]
    assert asked.table.column("x").to_pylist() == [0.0, 1.0, 2.0, 3.0]


def test_offers_that_are_joined_keep_their_rows() -> None:
    """Ids, keys and decisions stay with their rows; another champion's are no part of it."""
    first, second = offer(3, [b"a"], {1: "late"}), offer(2, [b"b"], {0: "on_time", 1: "late"})

    whole = joined([first.asked(1.0), second.asked(1.0)])

    assert whole.ids.to_pylist() == ["w:t:0:1", "w:t:0:0", "w:t:0:1"]
    assert whole.keys == [b"a", b"b", b"b"]
    assert whole.stamps == [1, 0, 1]
    assert whole.decided.to_pylist() == ["late", "on_time", "late"]
    assert whole.table.column("x").to_pylist() == [1.0, 0.0, 1.0]
    assert whole.scores.tolist() == [0.5, 0.0, 1.0]
    assert first.joins(second)
    assert not first.joins(replace(second, champion="2"))
    assert not first.joins(replace(second, table=pa.RecordBatch.from_pydict({"y": [0.0] * 2})))


def test_a_failure_is_no_disagreement() -> None:
    """It is counted by itself."""
    counts, found = CountsState(), offer(10, [b"k"])

    count(counts, found.asked(1.0), failed(Fault.HANG, 10))

    assert counts.failed[Fault.HANG] == 10
    assert (counts.compared, counts.disagreed, counts.differing) == (0, 0, 0)


def test_a_challenger_says_which_columns_it_lacks(bundle: Bundle, schema: Schema) -> None:
    """Missing, or of another type in the version that the champion reads."""
    proven = challenger(bundle, schema)
    full = pa.schema(list(proven.columns.items()))
    place = full.get_field_index("seats")

    assert proven.misfit(full) == ""
    assert proven.misfit(full.remove(place)) == "the champion's columns lack seats"
    assert "seats (string, not int64)" in proven.misfit(
        full.set(place, pa.field("seats", pa.string()))
    )


def test_a_challenger_of_other_fields_is_refused(bundle: Bundle) -> None:
    """Its contract has no such field."""
    nothing = parse('{"type": "record", "name": "N", "fields": []}', where="a test")

    with pytest.raises(ModelError, match="no field"):
        challenger(bundle, nothing)
