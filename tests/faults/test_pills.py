"""Records that end the process that reads them, for real: no memory, no end, no stack left."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from tests.conftest import ROOT
from tests.faults.recursion import DEEP
from tests.faults.rig import topology_file
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.models.build import Recipe, build
from workers.models.bundle import Bundle
from workers.testing import Reader, RealKafka, Sent, isolated, produce
from workers.topology import Delivery, Topology
from workers.wiring import pick

GOOD = 60
ADDRESS_SPACE_KB = 14 * 1024**2
"""A tenth of what the memory pill asks for; libraries reserve much more than they use."""
WATCHDOG = 3
PILLS = {"memory": "!!!", "time": "???", "recursion": DEEP.decode()}
"""Tail numbers that end the process."""
MOST_LIVES = 14
"""Once in its batch and twice alone is what a pill costs, and a life may end for another reason."""


def grown(times: int, sign: str) -> str:
    """SQL for a text in which every `sign` of the tail number became ten, `times` times over."""
    text = "tailnum"
    for _ in range(times):
        text = f"REPLACE({text}, '{sign}', '{sign * 10}')"
    return text


def endless(sign: str) -> str:
    """SQL that walks through a hundred million characters, a hundred and twenty times."""
    text = grown(8, sign)
    return " + ".join(f"LENGTH(REPLACE({text}, '{sign}', '{n}'))" for n in range(120))


SQL = f"COALESCE(LENGTH({grown(11, '!')}), 0) + COALESCE({endless('?')}, 0)"


def model(root: Path, bundle: Bundle, contracts: Catalogue, rows: Sequence[bytes]) -> None:
    """The demo's model, one of whose features grows what nobody has in a tail number."""
    first, *others = bundle.manifest.features
    grows = first.model_copy(update={"sql": f"departure_delay + 0 * ({SQL})"})
    recipe = Recipe(
        name="flight-delay",
        version="1",
        created=bundle.manifest.created,
        contract=bundle.manifest.contract,
        schema=contracts.versions("flights-value")[1].schema,
        features=(grows, *others),
        decisions=bundle.manifest.decisions,
    )
    build(root, recipe, bundle.booster, rows)


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_record_that_ends_its_process_is_sent_aside(
    kafka: RealKafka,
    topology: Topology,
    bundle: Bundle,
    contracts: Catalogue,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """One of each kind: all the others are enriched, once and in order; it goes on behind them."""
    models = tmp_path / "models"
    model(models, bundle, contracts, flights[:5])
    _, worker = isolated(topology, pick(topology, None), kafka, delivery=Delivery.EXACTLY_ONCE)
    file = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=True)
    text = file.read_text().replace(str(ROOT / "models"), str(models))
    more = f"instance: pills\n    watchdog: {WATCHDOG}s\n    batch:"
    file.write_text(f"state: {tmp_path / 'state'}\n{text.replace('batch:', more)}")
    schema = contracts.versions("flights-value")[1].schema
    first = shipped_month().head(1)
    bad = [
        encode(first.with_columns(pl.lit(tail).alias("tailnum")), schema.text)[0]
        for tail in PILLS.values()
    ]
    values = list(flights[:GOOD])
    for number, pill in enumerate(bad):
        values.insert(20 * number + 10, pill)
    sent = [Sent(frame(1) + v, b"k", [("place", b"%d" % n)]) for n, v in enumerate(values)]
    produce(kafka.bootstrap_servers, worker.input.topic, sent)

    with (
        Reader(kafka.bootstrap_servers, worker.output.topic) as enriched,
        Reader(kafka.bootstrap_servers, worker.dead_letter.topic) as dead,
    ):
        ends = until_done(file, enriched, dead)

    # The watchdog's end is an exit code; a library that gets no memory may say so in several ways.
    assert ends.count(-signal.SIGSEGV) >= 2, ends
    assert 2 * len(PILLS) + 1 <= len(ends) <= MOST_LIVES, ends
    assert {r.header("__workers.verdict") for r in dead.records} == {"crash"}
    assert [r.value for r in dead.records] == [frame(1) + pill for pill in bad]
    places = [int(record.header("place")) for record in enriched.records]
    assert places == [n for n, value in enumerate(values) if value not in bad]


def until_done(file: Path, enriched: Reader, dead: Reader) -> list[int]:
    """Lives of the worker, one after the other as a supervisor starts them; how they ended."""
    command = f"{sys.executable} -m tests.faults.recursion run -t {file}"
    ends = list[int]()
    while len(ends) <= MOST_LIVES:
        with (file.parent / f"life-{len(ends)}.log").open("wb") as log:
            limited = ["bash", "-c", f"ulimit -v {ADDRESS_SPACE_KB}; exec {command}"]
            process = subprocess.Popen(limited, cwd=ROOT, stdout=log, stderr=log)
            try:
                while process.poll() is None:
                    enriched.read(0.2)
                    dead.read(0.1)
                    if len(enriched.records) >= GOOD and len(dead.records) >= len(PILLS):
                        process.terminate()
                        assert process.wait(60) == 0
                        return ends
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        ends.append(process.returncode)
    logs = sorted(file.parent.glob("life-*.log"))
    raise AssertionError("\n".join(log.read_text(errors="replace")[-1500:] for log in logs[:4]))
