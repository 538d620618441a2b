"""The supervisor starts what ended again, unless a new start cannot help."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess

from workers.errors import ExitCode
from workers.processes import Supervisor
from workers.stream.clock import SystemClock

CONTEXT = multiprocessing.get_context("spawn")


def starter(lives: list[int], code: Callable[[int], int | None]) -> Callable[[int], SpawnProcess]:
    """Starts processes that end with `code` of their number, or wait where it is None."""

    def start(slot: int) -> SpawnProcess:
        lives.append(slot)
        found = code(len(lives))
        target = time.sleep if found is None else os._exit
        process = CONTEXT.Process(target=target, args=(600 if found is None else found,))
        process.start()
        return process

    return start


def test_a_process_that_dies_is_started_again() -> None:
    """After a wait; the other one is left alone; stop ends all."""
    lives: list[int] = []
    start = starter(lives, lambda number: 7 if number == 1 else None)
    supervisor = Supervisor(2, start, patience=5, clock=SystemClock())
    result: list[ExitCode] = []
    thread = threading.Thread(target=lambda: result.append(supervisor.run()))
    thread.start()
    pause = threading.Event()
    while len(lives) < 3:
        pause.wait(0.05)

    supervisor.stop()
    thread.join(30)

    assert lives == [0, 1, 0]
    assert result == [ExitCode.OK]


def test_a_fenced_process_ends_them_all() -> None:
    """A new start would fence the other in turn."""
    lives: list[int] = []
    start = starter(lives, lambda number: 8 if number == 2 else None)

    code = Supervisor(3, start, patience=5, clock=SystemClock()).run()

    assert code is ExitCode.FENCED
    assert lives == [0, 1, 2]
