"""The worker's side of a challenger's process: ask with a deadline, and end it when it fails.

Nothing here blocks for longer than asked: the pipes are non-blocking both ways, a process that does
not read is as late as one that does not answer, and `closing` is looked at ten times a second.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

import numpy as np
import pyarrow as pa

from workers.models.bundle import Bundle
from workers.models.shadow.counts import Fault
from workers.models.shadow.frames import ANSWER, HEADER, BadFrame, Kind, header, pack_bundle, parse

COMMAND = (sys.executable, "-m", "workers.models.shadow.child")
SLICE = 0.1
CRASH_SECONDS = 0.5
"""Until a process that closed its pipes has ended, and can say with which code."""
REAP_SECONDS = 5.0
CHUNK = 1 << 20
_REFUSAL = 4000

Answers = np.ndarray[tuple[int], np.dtype[np.void]]
"""Of `frames.ANSWER`."""


class ChildFailed(Exception):  # noqa: N818  what happened
    """The process is of no more use."""

    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(why)
        self.fault = fault


class Closing(Exception):  # noqa: N818  control flow, not an error
    """The worker ends: nobody waits for the answer any more."""


class Child:
    """One process, asked one thing at a time, from one thread."""

    def __init__(self, command: Sequence[str], closing: threading.Event) -> None:
        """Start it: afresh, for LightGBM, Arrow and librdkafka do not survive a fork.

        Raises:
            ChildFailed: it cannot be started.
        """
        self._closing = closing
        self._number = 0
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                # A Ctrl-C in a terminal is for the worker, which ends it then.
                process_group=0,
            )
        except OSError as error:
            raise ChildFailed(Fault.CRASH, f"cannot be started: {error.strerror}") from error
        self._in, self._out = _pipe(self._process.stdin), _pipe(self._process.stdout)
        for pipe in (self._in, self._out):
            os.set_blocking(pipe, False)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def load(self, bundle: Bundle, seconds: float) -> None:
        """Give it a bundle that `verify` has accepted.

        Raises:
            ChildFailed: it does not answer as it should within that time.
            Closing: the worker ends.
        """
        manifest = bundle.manifest.model_dump_json().encode()
        content = pack_bundle(manifest, bundle.booster.encode())
        kind, said = self._ask(Kind.LOAD, content, _REFUSAL, seconds)
        if kind is Kind.REFUSED:
            raise ChildFailed(Fault.REFUSED, said.decode(errors="replace"))
        if kind is not Kind.READY:
            raise ChildFailed(Fault.GARBAGE, f"answered {kind.name} to a bundle")

    def score(self, table: pa.RecordBatch, seconds: float) -> Answers:
        """One entry a row of the table.

        Raises:
            ChildFailed: it does not answer as it should within that time.
            Closing: the worker ends.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_batch(table)
        # Its length is known: nothing longer is read.
        length = table.num_rows * ANSWER.itemsize
        kind, said = self._ask(Kind.SCORE, sink.getvalue(), length, seconds)
        if kind is not Kind.SCORED or len(said) != length:
            raise ChildFailed(Fault.GARBAGE, f"{kind.name} of {len(said)} bytes, not {length}")
        return np.frombuffer(said, dtype=ANSWER)

    def end(self) -> None:
        """End it and wait until it is gone."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(REAP_SECONDS)

    def _ask(
        self, kind: Kind, content: bytes | pa.Buffer, longest: int, seconds: float
    ) -> tuple[Kind, bytes]:
        deadline = time.monotonic() + seconds
        self._number = (self._number + 1) % 2**32
        self._send(header(kind, self._number, len(content)), deadline)
        self._send(content, deadline)
        try:
            answer, number, length = parse(self._receive(HEADER.size, deadline))
        except BadFrame as error:
            raise ChildFailed(Fault.GARBAGE, str(error)) from error
        if number != self._number or length > longest:
            raise ChildFailed(Fault.GARBAGE, f"an answer to no question, of {length} bytes")
        return answer, self._receive(length, deadline)

    def _send(self, content: bytes | pa.Buffer, deadline: float) -> None:
        view = memoryview(content)
        self._poll.register(self._in, select.POLLOUT)
        try:
            while view:
                ready = self._wait(deadline)
                if self._out in ready:
                    self._read(1)
                    raise ChildFailed(Fault.GARBAGE, "an answer before the question")
                view = view[os.write(self._in, view[:CHUNK]) :]
        except BrokenPipeError as error:
            raise self._crash() from error
        finally:
            self._poll.unregister(self._in)

    def _receive(self, length: int, deadline: float) -> bytes:
        parts, left = list[bytes](), length
        while left:
            self._wait(deadline)
            parts.append(self._read(min(left, CHUNK)))
            left -= len(parts[-1])
        return b"".join(parts)

    def _read(self, length: int) -> bytes:
        found = os.read(self._out, length)
        if not found:
            raise self._crash()
        return found

    def _crash(self) -> ChildFailed:
        """It closed a pipe, as it does when it ends; says how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return ChildFailed(Fault.CRASH, _ended(self._process.wait(CRASH_SECONDS)))
        return ChildFailed(Fault.CRASH, "it closed its pipes")

    def _wait(self, deadline: float) -> frozenset[int]:
        """Descriptors that can be read or written."""
        while True:
            if self._closing.is_set():
                raise Closing
            left = deadline - time.monotonic()
            if left <= 0:
                raise ChildFailed(Fault.HANG, "no answer in time")
            if ready := self._poll.poll(min(left, SLICE) * 1000):
                return frozenset(descriptor for descriptor, _ in ready)


def _pipe(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise AssertionError("asked for pipes")
    return stream.fileno()


def _ended(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"it ended with {signal.Signals(-code).name}"
    return f"it ended with {code}"
