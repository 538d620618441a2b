"""What this host lets a process have: files, memory, room on disk."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.operate.doctor.findings import Check, Finding, Severity
from workers.topology import Worker

BASE = 320 * 1024**2
"""Bytes of a process with its libraries and a model of 100 trees, as docs/benchmarks.md has it."""
FILES = 256
"""Files beside connections: libraries, caches, the health endpoints' connections."""
CLIENTS = 5
"""Clients of a process that may each have a connection to each broker."""
ROOM = 256 * 1024**2
_CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class Host:
    """Limits of this process. `memory` is the smaller of its group's and the machine's."""

    files: int
    memory: int


def this_host() -> Host:
    """As it is here and now."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [limit for file in _CGROUPS if (limit := _limit(file)) is not None]
    return Host(_NO_LIMIT if files == resource.RLIM_INFINITY else files, min([machine, *limits]))


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) < _NO_LIMIT else None


def limits(host: Host, worker: Worker, brokers: int, processes: int) -> Iterator[Finding]:
    """Are they enough for so many processes of a worker?"""
    needed = FILES + CLIENTS * brokers
    if host.files < needed:
        yield Finding(
            Check.FILES,
            Severity.FAULT,
            "ulimit -n",
            f"{host.files} files may be open; a process needs up to {needed}",
            f"raise it to {max(1024, needed)}",
        )
    else:
        yield Finding(Check.FILES, Severity.OK, "ulimit -n", f"{host.files} files may be open")
    memory = needed_memory(worker) * processes
    said = f"{processes} processes may use up to {_mib(memory)} (queues, batches, model)"
    if host.memory < memory:
        yield Finding(
            Check.MEMORY,
            Severity.WARNING,
            f"worker {worker.name}",
            f"{said}; the limit is {_mib(host.memory)}",
            "raise the limit, run fewer processes, or lower `queues` and `batch.max_bytes`",
        )
    else:
        yield Finding(Check.MEMORY, Severity.OK, f"worker {worker.name}", said)


def needed_memory(worker: Worker) -> int:
    """Bytes of a process at most: two batches in hand, as records, columns and outcomes."""
    queues, models = worker.queues, 1 + len(worker.blocks) + (worker.shadow is not None)
    batches = 2 * 3 * worker.batch.max_bytes
    return models * BASE + queues.consumer_bytes + queues.producer_bytes + batches


def _mib(size: int) -> str:
    return f"{size // 1024**2} MiB"


def folders(places: Mapping[str, Path]) -> Iterator[Finding]:
    """Can they be made and written, by this user; and is there room?"""
    for name, place in places.items():
        there = place
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            why = f"{there} cannot be written by this user"
            yield Finding(
                Check.FOLDERS, Severity.FAULT, f"{name} {place}", why, "let it, or name another"
            )
            continue
        free = shutil.disk_usage(there).free
        severity = Severity.WARNING if free < ROOM else Severity.OK
        remedy = f"leave it {_mib(ROOM)}" if free < ROOM else ""
        yield Finding(Check.FOLDERS, severity, f"{name} {place}", f"{_mib(free)} free", remedy)
