"""A load generator for HTTP, a process of its own: `python -m benchmarks.subjects.load JSON`.

Closed: so many connections, each with one request under way. Open: requests at a rate, whoever is
free sends the next; a time is measured from when a request was due, so that waiting for a slow
server counts (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvloop


@dataclass
class Plan:
    """What is sent, to whom, how."""

    host: str
    port: int
    requests: list[bytes]
    connections: int
    seconds: float
    warm: float
    rate: float | None = None
    sent: int = 0
    due: deque[float] = field(default_factory=deque)
    times: list[tuple[float, float]] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)

    def next(self) -> bytes:
        """The next request."""
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]


class Connection(asyncio.Protocol):
    """Sends a request, waits for its answer, sends the next."""

    def __init__(self, plan: Plan, idle: deque[Connection]) -> None:
        self.plan = plan
        self.idle = idle
        self.buffer = b""
        self.began = 0.0
        self.transport: Any = None
        self.over = False

    def connection_made(self, transport: Any) -> None:
        """Ready."""
        self.transport = transport
        if self.plan.rate is None:
            self.send(time.perf_counter())
        else:
            self.idle.append(self)

    def send(self, due: float) -> None:
        """One request; its time counts from `due`."""
        self.began = due
        self.transport.write(self.plan.next())

    def data_received(self, data: bytes) -> None:
        """Some of an answer."""
        self.buffer += data
        head, mark, rest = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 : lower.find(b"\r\n", at) if b"\r\n" in lower[at:] else None])
        if len(rest) < length:
            return
        self.buffer = b""
        now = time.perf_counter()
        self.plan.times.append((self.began, now))
        if not head.startswith(b"HTTP/1.1 200"):
            status = head[9:12].decode()
            self.plan.wrong[status] = self.plan.wrong.get(status, 0) + 1
        if self.over:
            self.transport.close()
        elif self.plan.rate is None:
            self.send(now)
        elif self.plan.due:
            self.send(self.plan.due.popleft())
        else:
            self.idle.append(self)


async def drive(plan: Plan) -> None:
    """Send for the plan's time."""
    loop, idle = asyncio.get_running_loop(), deque[Connection]()
    opened = [
        (await loop.create_connection(lambda: Connection(plan, idle), plan.host, plan.port))[1]
        for _ in range(plan.connections)
    ]
    end = time.perf_counter() + plan.warm + plan.seconds
    if plan.rate is None:
        await asyncio.sleep(plan.warm + plan.seconds)
    else:
        due = time.perf_counter()
        while (now := time.perf_counter()) < end:
            while due <= now:
                if idle:
                    idle.popleft().send(due)
                else:
                    plan.due.append(due)
                due += 1 / plan.rate
            await asyncio.sleep(min(0.001, max(0.0, due - now)))
    for each in opened:
        each.over = True
    await asyncio.sleep(0.5)


def main(text: str) -> None:
    """Drive, and print what was seen."""
    asked = json.loads(text)
    written = json.loads(Path(asked.pop("file")).read_text())
    requests = [text.encode("latin-1") for text in written]
    plan = Plan(requests=requests, **asked)
    began = time.perf_counter()
    cpu = time.process_time()
    uvloop.run(drive(plan))
    cpu = time.process_time() - cpu
    first, last = began + plan.warm, began + plan.warm + plan.seconds
    taken = np.array([end - start for start, end in plan.times if first <= end <= last])
    p50, p99, longest = np.percentile(taken, [50, 99, 100]) if len(taken) else (0.0, 0.0, 0.0)
    print(
        json.dumps(
            {
                "requests": len(taken) / plan.seconds,
                "answered": len(plan.times),
                "p50": p50 * 1000,
                "p99": p99 * 1000,
                "longest": longest * 1000,
                "wrong": plan.wrong,
                "own_cpu": cpu / (plan.warm + plan.seconds),
                "late": len(plan.due),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
