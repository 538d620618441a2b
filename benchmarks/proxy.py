"""What the transparent proxy adds to a request of the system behind it: direct, and through it."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import flights, free_port, request, worker_text
from benchmarks.http_load import Figures, Served, cpu_of, load
from benchmarks.rig import ROOT
from workers.testing import RealKafka

SECONDS = 8.0
"""Of each load, after it has warmed up."""
CONNECTIONS = (1, 8, 32)
RATE = 100.0
BUDGET = "50ms"
EVENTS, OTHERS = "/bookings", "/payments"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw, and what the system was sent.

    `sent` are shares of requests, by "decided" or the cause of no decision; `cpu` is microseconds a
    request, by process.
    """

    figures: Figures
    sent: dict[str, float]
    cpu: dict[str, float]


def topology_text(servers: str, tag: str, gateway: int, upstream: int) -> str:
    """A gateway and the proxy that asks it; what is not written is the default."""
    return f"""
version: 1
broker: {{bootstrap_servers: "{servers}"}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {ROOT / "models"}}}
gateway:
  port: {gateway}
  anonymous: bench
  callers: {{bench: {{workers: [flight-delays]}}}}
proxy:
  worker: flight-delays
  port: 0
  upstream: http://127.0.0.1:{upstream}
  budget: {BUDGET}
  paths: [{EVENTS}]
{worker_text(tag, "{}")}"""


@contextmanager
def listening(*command: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process of a Python module, and the port that its first line ends with."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(command)} does not listen")
        yield process, int(line.split(":")[-1])
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class Ground:
    """Who runs, and what is sent to whom."""

    system: Served
    proxy: Served
    others: Served
    gateway: subprocess.Popen[str]


@contextmanager
def ground(kafka: RealKafka, folder: Path) -> Iterator[Ground]:
    """The system, a gateway, and the proxy between the two."""
    tag, port = secrets.token_hex(3), free_port()
    kafka.create_topic(f"decisions.{tag}", 4)
    events = flights()
    with ExitStack() as stack:
        system, behind = stack.enter_context(listening("benchmarks.subjects.upstream"))
        file = folder / f"{tag}.yaml"
        file.write_text(topology_text(kafka.bootstrap_servers, tag, port, behind))
        where = ("--topology", str(file))
        gateway, _ = stack.enter_context(listening("workers", "serve", *where))
        proxy, before = stack.enter_context(listening("workers", "sidecar", "proxy", *where))
        asked, passed = ([request(path, e) for e in events] for path in (EVENTS, OTHERS))
        yield Ground(
            Served(system.pid, behind, asked),
            Served(proxy.pid, before, asked),
            Served(proxy.pid, before, passed),
            gateway,
        )


def measured(kafka: RealKafka, folder: Path, seconds: float) -> list[Seen]:
    """Direct, and through the proxy while the gateway is well, hangs, and is gone."""
    with ground(kafka, folder) as g:
        # The first decisions of a process are not what is measured.
        load(g.proxy, "warming up", seconds, 1)
        cases: dict[str, tuple[Served, Callable[[], object]]] = {
            "direct": (g.system, lambda: None),
            "proxy, no event": (g.others, lambda: None),
            "proxy, with the decision": (g.proxy, lambda: None),
            "proxy, the gateway hangs": (g.proxy, lambda: g.gateway.send_signal(signal.SIGSTOP)),
            "proxy, the gateway is gone": (g.proxy, lambda: (g.gateway.kill(), g.gateway.wait())),
        }
        found = []
        for name, (served, prepare) in cases.items():
            prepare()
            found += [_seen(g, served, name, seconds, n) for n in CONNECTIONS]
            found.append(_seen(g, served, name, seconds, max(CONNECTIONS), RATE))
    return found


def _seen(
    g: Ground,
    served: Served,
    what: str,
    seconds: float,
    connections: int,
    rate: float | None = None,
) -> Seen:
    pids = {"proxy": g.proxy.pid, "system": g.system.pid}
    if g.gateway.poll() is None:
        pids["gateway"] = g.gateway.pid
    _counts(g)
    before = {name: cpu_of(pid) for name, pid in pids.items()}
    figures = load(served, what, seconds, connections, rate)
    spent = {name: cpu_of(pid) - before[name] for name, pid in pids.items()}
    counts = _counts(g)
    total = sum(counts.values())
    return Seen(
        figures,
        {name: count / total for name, count in counts.items() if name},
        {name: used / total * 1e6 for name, used in spent.items()},
    )


def _counts(g: Ground) -> dict[str, int]:
    """Requests that the system got since it was last asked, as it tells them apart."""
    with urllib.request.urlopen(f"http://127.0.0.1:{g.system.port}/counts") as answer:
        found: dict[str, int] = json.load(answer)
    return found


def table(found: list[Seen]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## Through the proxy",
        "",
        "A system behind `workers sidecar proxy`, a Starlette application that parses its JSON "
        f"and answers, and the gateway on the same cores; `budget: {BUDGET}`. *No event*: a path "
        "that nobody is asked about. *Hangs*: the gateway's process is stopped, it takes "
        "connections and never answers; then it is killed. *What came with it*: shares of the "
        "requests that the system got, with a decision or the cause of none. CPU is microseconds a "
        f"request, of each process. At {RATE:.0f} requests/s a time counts from when a request was "
        "due.",
        "",
        "| | load | requests/s | p50 ms | p99 ms | longest ms | what came with it | CPU, system | "
        "CPU, proxy | CPU, gateway |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [_row(seen) for seen in found]


def _row(seen: Seen) -> str:
    f = seen.figures
    wrong = f" ({f.wrong})" if f.wrong else ""
    ordered = sorted(seen.sent.items(), key=lambda each: -each[1])
    sent = ", ".join(f"{name} {share:.1%}" for name, share in ordered)
    cpu = (f"{seen.cpu.get(name, 0.0):,.0f}" for name in ("system", "proxy", "gateway"))
    cells = [
        f.what, f.load, f"{f.requests:,.0f}{wrong}", f"{f.p50:.1f}", f"{f.p99:.1f}",
        f"{f.longest:.1f}", sent, *cpu,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"
