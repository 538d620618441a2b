"""Processes of one worker on one host: each its own consumer, producer and model."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from workers.errors import ExitCode, Halt
from workers.operate.health.opening import answering
from workers.stream.clock import Clock, SystemClock
from workers.stream.crashes import Watchdog
from workers.stream.journal import Event, Journal
from workers.stream.logs import configure_logging
from workers.stream.snapshot import Board
from workers.telemetry.prometheus import Rendering
from workers.telemetry.registry import Registry
from workers.topology import Topology, Worker, load
from workers.wiring import board_of, build_enricher, build_loop, check_broker, pick

HEALTHY_SECONDS = 60.0
"""A process that lived so long starts again at the shortest wait."""
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
GRACE = 10.0
"""Seconds beyond `drain_timeout` before a process that does not end is killed."""
_FINAL = frozenset(
    {ExitCode.USAGE, ExitCode.TOPOLOGY, ExitCode.CONTRACT, ExitCode.MODEL, ExitCode.FENCED}
)
"""Exit codes that a new start cannot help; a fenced process would fence the other in turn."""


def run_one(topology: Path, name: str | None, slot: int = 0) -> None:
    """Run a worker in this process until SIGTERM or SIGINT.

    Raises:
        Halt: with the exit code to end with.
    """
    configure_logging()
    loaded = load(topology)
    worker = pick(loaded, name)
    clock = SystemClock()
    board = board_of(worker, slot, clock)
    registry = Registry()
    journal = Journal(clock, registry, worker=worker.name, instance=board.snapshot.instance)
    # Before anything is loaded: a start may take a while, and whoever waits wants to know of it.
    metrics = Rendering({worker.name: registry})
    with answering(loaded.health, slot, board, clock, journal, metrics):
        _run_loop(loaded, worker, slot, board, registry)


def _run_loop(
    loaded: Topology, worker: Worker, slot: int, board: Board, registry: Registry
) -> None:
    enricher = build_enricher(loaded, worker)
    check_broker(loaded.broker, worker)
    running = build_loop(
        loaded,
        worker,
        enricher,
        slot=slot,
        watchdog=watchdog(worker.watchdog),
        board=board,
        registry=registry,
    )
    # What is loaded now stays; batches are freed by reference counting and hold no cycles, so the
    # collector would look at tens of thousands of records again and again and find nothing.
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)

    def stop(_: int, __: FrameType | None) -> None:
        # A handler that raised would destroy fetched records: it sets a flag.
        running.loop.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    running.loop.run()


def watchdog(seconds: float) -> Watchdog:
    """Ends the process when native code takes longer, with every thread's stack on standard error.

    By a timer of the kernel and a handler in C: one in Python would wait for ever for code that
    keeps the interpreter lock. Setting it is one system call; a thread for each batch, as
    `faulthandler.dump_traceback_later` starts one, is a few hundred microseconds.
    """
    # After the stacks comes what SIGALRM does by default: the process ends.
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)

    def watch(on: bool) -> None:  # noqa: FBT001  as `Watchdog`
        signal.setitimer(signal.ITIMER_REAL, seconds if on else 0.0)

    return watch


def _child(topology: Path, name: str | None, slot: int) -> None:
    try:
        run_one(topology, name, slot)
    except Halt as halt:
        Journal(SystemClock()).error(Event.PROCESS_ENDED, why=str(halt), slot=slot)
        raise SystemExit(int(halt.exit_code)) from halt


@dataclass(slots=True)
class _SlotState:
    process: SpawnProcess | None
    started: float
    wait: float = FIRST_WAIT
    again_at: float = 0.0


Start = Callable[[int], SpawnProcess]


def spawn(topology: Path, name: str | None) -> Start:
    """How a slot's process is started: afresh, for librdkafka and Arrow do not survive a fork."""
    context = multiprocessing.get_context("spawn")

    def start(slot: int) -> SpawnProcess:
        process = context.Process(target=_child, args=(topology, name, slot))
        process.start()
        return process

    return start


class Supervisor:
    """Keeps `count` processes running; one that ends is started again after a growing wait."""

    def __init__(self, count: int, start: Start, *, patience: float, clock: Clock) -> None:
        """`patience`: seconds a process may take to end after SIGTERM."""
        self._start = start
        self._patience = patience
        self._clock = clock
        self._journal = Journal(clock, processes=count)
        self._stop = threading.Event()
        self._slots = {slot: _SlotState(None, 0.0) for slot in range(count)}

    def stop(self) -> None:
        """End all of them. Safe in a signal handler."""
        self._stop.set()

    def run(self) -> ExitCode:
        """Until `stop`, or until a process ends in a way that a new start cannot help."""
        final = ExitCode.OK
        while not self._stop.is_set() and final is ExitCode.OK:
            for slot, state in self._slots.items():
                final = self._tend(slot, state)
                if final is not ExitCode.OK:
                    break
            self._stop.wait(0.2)
        self._end_all()
        return final

    def _tend(self, slot: int, state: _SlotState) -> ExitCode:
        now = self._clock.monotonic()
        if state.process is None:
            if now >= state.again_at:
                state.process, state.started = self._start(slot), now
        elif state.process.exitcode is not None:
            code = state.process.exitcode
            state.process = None
            if code in _FINAL:
                self._journal.error(Event.PROCESS_ENDED, slot=slot, code=code, again="no")
                return ExitCode(code)
            if now - state.started >= HEALTHY_SECONDS:
                state.wait = FIRST_WAIT
            state.again_at = now + state.wait
            self._journal.warn(
                Event.PROCESS_ENDED, slot=slot, code=code, again_in_seconds=state.wait
            )
            state.wait = min(state.wait * 2, LONGEST_WAIT)
        return ExitCode.OK

    def _end_all(self) -> None:
        running = [state.process for state in self._slots.values() if state.process is not None]
        for process in running:
            process.terminate()
        deadline = self._clock.monotonic() + self._patience
        for process in running:
            process.join(max(0.0, deadline - self._clock.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()


def run_many(topology: Path, name: str | None, count: int) -> ExitCode:
    """Run `count` processes until SIGTERM or SIGINT; the exit code to end with.

    Raises:
        Halt: the topology cannot be used.
    """
    configure_logging()
    worker = pick(load(topology), name)
    supervisor = Supervisor(
        count,
        spawn(topology, worker.name),
        patience=worker.drain_timeout + GRACE,
        clock=SystemClock(),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _, __: supervisor.stop())
    return supervisor.run()
