"""The loop of a process, with everything that it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.enrich.path import Enricher
from workers.models.shadow.process import COMMAND
from workers.stream.breaker import Breaker
from workers.stream.clock import Clock, SystemClock
from workers.stream.crashes import CrashGuard, Watchdog
from workers.stream.holds import Holds
from workers.stream.journal import Journal
from workers.stream.loop import Loop
from workers.stream.outcome import Counted, Passed
from workers.stream.outgoing import Outgoing
from workers.stream.pausing import Pauses
from workers.stream.publish import Failpoint, nowhere
from workers.stream.retries import Enrich, Waiting, as_first_came
from workers.stream.schemas import Schemas
from workers.stream.shadowing import Shadowing
from workers.stream.snapshot import Board
from workers.telemetry.registry import Registry
from workers.topology import Topology, Worker, user_folder
from workers.wiring.clients import order_of, publisher_of, source_of
from workers.wiring.following import followed
from workers.wiring.letters import origin_of
from workers.wiring.process import Process, process_of
from workers.wiring.reporting import board_of, reporter_of
from workers.wiring.telemetry import recorder_of, watch


@dataclass(frozen=True, slots=True)
class Running:
    """A loop and what it counts."""

    loop: Loop
    journal: Journal
    board: Board
    registry: Registry
    shadow: Shadowing | None = None


def build_loop(  # noqa: PLR0913  what is not given is what a worker runs with
    topology: Topology,
    worker: Worker,
    enricher: Enricher,
    *,
    slot: int = 0,
    clock: Clock | None = None,
    at: Failpoint = nowhere,
    watchdog: Watchdog | None = None,
    challenger: Sequence[str] = COMMAND,
    board: Board | None = None,
    registry: Registry | None = None,
) -> Running:
    """The loop of one process; nothing connects before it runs.

    `challenger` starts the process of the worker's shadow, where it has one. With `watchdog` the
    process is the worker's own: what it does is noted, so that a record which ends it is found.
    `board` is where it reports, `registry` where it counts; by default ones of its own.

    Raises:
        Halt: a client refuses its configuration.
    """
    process = process_of(topology, worker, slot, clock or SystemClock(), registry or Registry())
    board = board or board_of(worker, slot, process.clock)
    loop, shadow = _loop(process, enricher, at, watchdog, challenger, board)
    return Running(loop, process.journal, board, process.registry, shadow)


def _loop(
    process: Process,
    enricher: Enricher,
    at: Failpoint,
    watchdog: Watchdog | None,
    challenger: Sequence[str],
    board: Board,
) -> tuple[Loop, Shadowing | None]:
    topology, worker = process.topology, process.worker
    clock, journal = process.clock, process.journal
    origin = origin_of(worker, process.instance)
    source = source_of(process)
    found = followed(
        topology,
        worker,
        enricher,
        slot=process.slot,
        clock=clock,
        journal=journal,
        challenger=challenger,
    )
    schemas = Schemas(found.resolver, enricher.rebind, source, journal)
    pauses = Pauses(lambda: found.slot.pause, source, journal)
    publisher = _publisher(process, at)
    recorder = recorder_of(process, enricher)
    process.registry.watch(publisher.samples)
    watch(process, enricher, board)
    holds = Holds(
        schemas=schemas,
        breaker=Breaker(worker.breaker, source, clock, journal),
        pauses=pauses,
        waiting=None if worker.tier is None else Waiting(worker.tier, source, clock),
        order=order_of(process, source),
    )
    loop = Loop(
        worker=worker,
        source=source,
        publisher=publisher,
        enrich=_enrich(process, enricher, watchdog),
        holds=holds,
        slot=found.slot,
        outgoing=Outgoing(worker, origin),
        shadow=found.shadow,
        clock=clock,
        journal=journal,
        recorder=recorder,
        reporter=reporter_of(process, board, enricher, source, pauses, schemas),
        at=at,
    )
    return loop, found.shadow


def _publisher(process: Process, at: Failpoint) -> Counted:
    """What writes, counted."""
    passed, worker, clock = Passed(at), process.worker, process.clock
    inner = publisher_of(process.topology, worker, process.slot, clock, process.journal, passed)
    return Counted(inner, passed, worker, process.registry, clock)


def _enrich(process: Process, enricher: Enricher, watchdog: Watchdog | None) -> Enrich:
    """The path as the loop calls it; with a watchdog what it does is noted."""
    topology, worker = process.topology, process.worker
    enrich: Enrich = enricher.enrich
    if worker.tier is not None:
        enrich = as_first_came(enrich, worker.tier)
    if watchdog is None:
        return enrich
    folder = topology.state or user_folder("state")
    file = folder / f"{worker.name}.{process.slot}.json"
    return CrashGuard(file, worker.input.topic, enrich, process.journal, watchdog)
