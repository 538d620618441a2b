"""The decision gateway beside what people write first, by HTTP: `python -m benchmarks.gateway`.

Every subject serves the same model to the same load generator, one after the other on the same
cores. The gateway writes every decision to a real Kafka topic and waits for its acknowledgement;
the others log nothing. `--only NAME`, `--seconds N`, `--embedded` (no Kafka), `--out FILE`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastavro

from benchmarks.environments import python_of
from benchmarks.http_load import HEAD, Figures, Json, Served, load
from benchmarks.rig import ROOT
from examples.flights.encode import encode
from examples.flights.events import shipped_month
from workers.contracts.directory import read_directory
from workers.gateway.callers import new_key
from workers.testing import EmbeddedBroker, RealKafka, real_kafka

PATH = "/v1/decisions/flight-delays"
CONNECTIONS = (1, 8, 32, 128, 256)
SECONDS = 4.0
"""Of each load, after it has warmed up."""
MLSERVER = ("mlserver==1.7.1", "mlserver-lightgbm==1.7.1")
V2 = "/v2/models/flight-delay/infer"
READY_SECONDS = 120


def flights() -> list[Json]:
    """Real events as JSON."""
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    plain = json.loads(schema.text)
    for entry in plain["fields"]:
        if isinstance(entry["type"], dict) and "logicalType" in entry["type"]:
            entry["type"] = entry["type"]["type"]
    datums = encode(shipped_month().head(2000), schema.text)
    return [dict(fastavro.schemaless_reader(io.BytesIO(d), plain, None)) for d in datums]


def request(path: str, body: Any, key: str = "") -> str:
    """A request's bytes, as text."""
    text = json.dumps(body)
    more = f"X-API-Key: {key}\r\n" if key else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\n{more}Content-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}"
    )


def worker_text(tag: str, settings: str) -> str:
    """The worker that is served, with topics of its own; `settings` are its `gateway`."""
    return f"""\
workers:
  flight-delays:
    input: {{topic: in.{tag}, subject: flights-value}}
    output: {{topic: out.{tag}, subject: flights.enriched-value}}
    dead_letter: {{topic: dlq.{tag}}}
    decisions: {{topic: decisions.{tag}, subject: flights.decisions-value}}
    model: {{name: flight-delay, version: "1"}}
    first_start: earliest
    gateway: {settings}
"""


def topology(servers: str, hashed: str, tag: str, acknowledge: str) -> str:
    """What the gateway is told."""
    return f"""
version: 1
broker: {{bootstrap_servers: "{servers}"}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {ROOT / "models"}}}
gateway:
  port: 0
  callers: {{bench: {{keys: ["{hashed}"], workers: ["*"]}}}}
  lookup: 1000
{worker_text(tag, f"{{acknowledge: {acknowledge}, deadline: 5s}}")}"""


@contextmanager
def gateway(
    broker: RealKafka | EmbeddedBroker, folder: Path, acknowledge: str, many: int
) -> Iterator[Served]:
    """`workers serve`."""
    tag, (key, hashed) = secrets.token_hex(3), new_key()
    broker.create_topic(f"decisions.{tag}", 4)
    file = folder / f"{tag}.yaml"
    file.write_text(topology(broker.bootstrap_servers, hashed, tag, acknowledge))
    command = [sys.executable, "-m", "workers", "serve", "--topology", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().split(b":")[1])
        events = flights()
        bodies: list[Any] = [*events] if many == 1 else [
            events[at : at + many] for at in range(0, len(events) - many, many)
        ]  # fmt: skip
        yield Served(process.pid, port, [request(PATH, b, key) for b in bodies], many)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def started(command: list[str], port: int, requests: list[str], cwd: Path) -> Iterator[Served]:
    """Another subject's process, when it listens."""
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command} does not listen") from None
                time.sleep(0.1)
        yield Served(process.pid, port, requests)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def plain(kind: str) -> Iterator[Served]:
    """FastAPI and one prediction a request."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.subjects.plain_http", str(port), kind]
    requests = [request(PATH, event) for event in flights()]
    with started(command, port, requests, ROOT) as served:
        yield served


@contextmanager
def mlserver(folder: Path) -> Iterator[Served]:
    """MLServer's runtime for LightGBM: it is sent features, not events.

    One process without its pool of workers, which is faster for a model as small as this.
    """
    python = python_of("mlserver", *MLSERVER)
    ports = [free_port() for _ in range(3)]
    settings = {
        "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2],
        "host": "127.0.0.1", "parallel_workers": 0, "debug": False,
    }  # fmt: skip
    model = {
        "name": "flight-delay",
        "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(ROOT / "models/flight-delay/1/model.txt")},
        "max_batch_size": 64,
        "max_batch_time": 0.005,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    body = {
        "inputs": [
            {"name": "x", "shape": [1, 13], "datatype": "FP64", "data": [[12.0] * 13]},
        ]
    }
    command = [str(Path(python).with_name("mlserver")), "start", str(folder)]
    with started(command, ports[0], [request(V2, body)], folder) as served:
        yield served


def rising(served: Served, what: str, seconds: float) -> list[Figures]:
    """At rising concurrency."""
    return [load(served, what, seconds, connections) for connections in CONNECTIONS]


def measured(
    broker: RealKafka | EmbeddedBroker, folder: Path, seconds: float, only: str = ""
) -> tuple[list[Figures], list[str]]:
    """Every subject whose name holds `only`, one after the other; and who could not be measured."""
    figures, left_out = list[Figures](), list[str]()
    subjects: dict[str, Callable[[], Any]] = {
        "FastAPI, a thread a request": lambda: plain("threads"),
        "FastAPI, in the loop": lambda: plain("async"),
        "MLServer 1.7.1, lightgbm": lambda: mlserver(folder),
        "gateway, acknowledged": lambda: gateway(broker, folder, "before_answer", 1),
        "gateway, queued": lambda: gateway(broker, folder, "queued", 1),
        "gateway, lists of 50": lambda: gateway(broker, folder, "before_answer", 50),
    }
    for name, make in subjects.items():
        if only not in name:
            continue
        try:
            with make() as served:
                seen = rising(served, name, seconds)
                figures += seen
                if name == "gateway, acknowledged":
                    # The p99 that is promised: at half of what it can do.
                    rate = max(each.requests for each in seen) / 2
                    figures.append(load(served, name, seconds, 256, rate))
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            left_out.append(name)
    return figures, left_out


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--only", default="", help="subjects whose name holds this")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--embedded", action="store_true", help="librdkafka's mock, not Kafka")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBroker() if options.embedded else real_kafka() as broker,
    ):
        found = measured(broker, Path(folder), options.seconds, options.only)
    text = "\n".join(report(*found)) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


def table(found: tuple[list[Figures], list[str]]) -> list[str]:
    """The section of docs/benchmarks.md."""
    return [
        "",
        "## Decisions by HTTP",
        "",
        "One process each, the same model, at rising concurrency; load generator and broker are on "
        "the same cores. The gateway writes every decision to Kafka and, but where it says "
        "queued, answers when the broker has it; the others log nothing.",
        "",
        *report(*found),
    ]


def report(figures: list[Figures], left_out: list[str]) -> list[str]:
    """The table, and what was to be reached."""
    lines = [*HEAD, *(each.row() for each in figures)]
    best = {
        name: max((f.events for f in figures if f.what.startswith(name)), default=0.0)
        for name in ("gateway, acknowledged", "gateway, lists", "FastAPI")
    }
    half = [f for f in figures if "requests/s" in f.load]
    if all(best.values()) and half:
        times = best["gateway, acknowledged"] / best["FastAPI"]
        lists = best["gateway, lists"] / best["FastAPI"]
        lines += [
            "",
            f"At saturation {times:.1f} times the events of the faster FastAPI, in lists of 50 "
            f"{lists:.1f} times (to be reached: 5); at half of it, one event a request, p99 is "
            f"{half[0].p99:.1f} ms (to be reached: 25).",
        ]
    if left_out:
        lines += ["", f"Could not be measured here: {'; '.join(left_out)}."]
    return lines


if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    main()
