"""Challengers that go wrong. Run as a program, each stands for the process that a shadow starts."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from workers.models.shadow.frames import (
    ANSWER,
    HEADER,
    Kind,
    header,
    pack_bundle,
    read_frame,
    unpack_bundle,
)

HERE = Path(__file__)


def command(how: str) -> tuple[str, ...]:
    """What starts the challenger that goes wrong like this."""
    return (sys.executable, str(HERE), how)


def cyclic(booster: bytes) -> bytes:
    """A booster whose trees lead back to their roots: it loads, and never ends a prediction."""

    def to_root(line: re.Match[bytes]) -> bytes:
        return line[1] + b" ".join([b"0"] * len(line[2].split()))

    looped = re.sub(rb"(?m)^((?:left|right)_child=)(.*)$", to_root, booster)
    return re.sub(rb"(?m)^tree_sizes=.*\n", b"", looped)


def hang() -> None:
    """The real process, with a real model that never ends."""
    # Here, because it loads all that the real one needs.
    from workers.models.shadow import child

    load = child._load

    def loaded(content: bytes) -> object:
        manifest, booster = unpack_bundle(content)
        return load(pack_bundle(manifest, cyclic(booster)))

    child._load = loaded  # type: ignore[assignment]
    child.main()


def _say(content: bytes) -> None:
    while content:
        content = content[os.write(1, content) :]


def _scored(number: int, rows: int) -> None:
    nothing = np.zeros(rows, dtype=ANSWER)
    nothing["score"] = np.nan
    _say(header(Kind.SCORED, number, nothing.nbytes) + nothing.tobytes())


def _rows(content: bytes) -> int:
    with pa.ipc.open_stream(content) as stream:
        return int(stream.read_next_batch().num_rows)


def leave(_: int, __: bytes) -> None:
    """End in the middle of a batch."""
    os._exit(3)


def crash(_: int, __: bytes) -> None:
    """As native code does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def nan(number: int, content: bytes) -> None:
    """An answer in good form, of no numbers."""
    _scored(number, _rows(content))


def bands(number: int, content: bytes) -> None:
    """Decisions that there are not."""
    answer = np.zeros(_rows(content), dtype=ANSWER)
    answer["band"] = 99
    _say(header(Kind.SCORED, number, answer.nbytes) + answer.tobytes())


def garbage(_: int, __: bytes) -> None:
    """What a library prints."""
    _say(b"[LightGBM] [Warning] this is no frame at all")


def short(number: int, _: bytes) -> None:
    """One row, whatever was asked."""
    _scored(number, 1)


def huge(number: int, _: bytes) -> None:
    """The head of an answer of a gigabyte."""
    _say(HEADER.pack(b"SHDW", Kind.SCORED, number, 1 << 30))


def twice(number: int, content: bytes) -> None:
    """Two answers to one question."""
    nan(number, content)
    nan(number, content)


def flood(_: int, __: bytes) -> None:
    """No end of it."""
    while True:
        _say(b"\x00" * 65536)


def deaf(_: int, __: bytes) -> None:
    """Reads no more; does not answer; does not end."""
    threading.Event().wait()


def still(number: int, content: bytes) -> None:
    """Closes its answers and goes on."""
    os.close(1)
    threading.Event().wait()


WAYS: dict[str, Callable[[int, bytes], None]] = {
    each.__name__: each
    for each in (leave, crash, nan, bands, garbage, short, huge, twice, flood, deaf, still)
}


def main(how: str) -> None:
    """Load well, and then go wrong."""
    if how == "hang":
        hang()
    source = os.fdopen(os.dup(0), "rb")
    if how == "early":
        _say(b"\x00" * 100)
    while (frame := read_frame(source)) is not None:
        kind, number, content = frame
        if kind is Kind.LOAD:
            _say(header(Kind.READY, number, 0))
        else:
            WAYS[how](number, content)


if __name__ == "__main__":
    main(sys.argv[1])
