"""Records that end the process that reads them, for real: no memory left, and no end in sight."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from tests.conftest import ROOT
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
MOST_LIVES = 12


def grown(times: int) -> str:
    """SQL for a text in which every `!` of the tail number became ten, `times` times over."""
    text = "tailnum"
    for _ in range(times):
        text = f"REPLACE({text}, '!', '!!!!!!!!!!')"
    return text


def endless() -> str:
    """SQL that walks through a hundred million characters, a hundred and twenty times."""
    text = grown(8)
    return " + ".join(f"LENGTH(REPLACE({text}, '!', '{n}'))" for n in range(120))


PILLS = {"memory": f"LENGTH({grown(11)})", "time": endless()}


def model(
    root: Path, sql: str, bundle: Bundle, contracts: Catalogue, rows: Sequence[bytes]
) -> None:
    """The demo's model, one of whose features grows what nobody has in a tail number."""
    first, *others = bundle.manifest.features
    grows = first.model_copy(update={"sql": f"departure_delay + 0 * COALESCE({sql}, 0)"})
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
@pytest.mark.parametrize("pill", PILLS)
def test_a_record_that_ends_its_process_is_sent_aside(
    kafka: RealKafka,
    topology: Topology,
    bundle: Bundle,
    contracts: Catalogue,
    flights: list[bytes],
    tmp_path: Path,
    pill: str,
) -> None:
    """All the others are enriched, once and in order; the stream goes on behind it."""
    models = tmp_path / "models"
    model(models, PILLS[pill], bundle, contracts, flights[:5])
    _, worker = isolated(topology, pick(topology, None), kafka, delivery=Delivery.EXACTLY_ONCE)
    file = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=True)
    text = file.read_text().replace(str(ROOT / "models"), str(models))
    more = f"instance: pills\n    watchdog: {WATCHDOG}s\n    batch:"
    file.write_text(f"state: {tmp_path / 'state'}\n{text.replace('batch:', more)}")
    schema = contracts.versions("flights-value")[1].schema
    bad = encode(shipped_month().head(1).with_columns(pl.lit("!!!").alias("tailnum")), schema.text)[
        0
    ]
    values = [*flights[: GOOD // 2], bad, *flights[GOOD // 2 : GOOD]]
    sent = [Sent(frame(1) + v, b"k", [("place", b"%d" % n)]) for n, v in enumerate(values)]
    produce(kafka.bootstrap_servers, worker.input.topic, sent)

    with (
        Reader(kafka.bootstrap_servers, worker.output.topic) as enriched,
        Reader(kafka.bootstrap_servers, worker.dead_letter.topic) as dead,
    ):
        lives = until_done(file, enriched, dead)

    assert 3 <= lives <= MOST_LIVES
    assert [r.header("__workers.verdict") for r in dead.records] == ["crash"]
    assert dead.records[0].value == frame(1) + bad
    places = [int(record.header("place")) for record in enriched.records]
    assert places == [n for n in range(len(values)) if n != GOOD // 2]


def until_done(file: Path, enriched: Reader, dead: Reader) -> int:
    """Lives of `workers run`, one after the other as a supervisor starts them; how many ended."""
    command = f"ulimit -v {ADDRESS_SPACE_KB}; exec {sys.executable} -m workers run -t {file}"
    for life in range(MOST_LIVES + 1):
        with (file.parent / f"life-{life}.log").open("wb") as log:
            process = subprocess.Popen(["bash", "-c", command], cwd=ROOT, stdout=log, stderr=log)
            try:
                while process.poll() is None:
                    enriched.read(0.2)
                    dead.read(0.1)
                    if len(enriched.records) >= GOOD and dead.records:
                        process.terminate()
                        assert process.wait(60) == 0
                        return life
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
    logs = sorted(file.parent.glob("life-*.log"))
    raise AssertionError("\n".join(log.read_text(errors="replace")[-1500:] for log in logs[:4]))
