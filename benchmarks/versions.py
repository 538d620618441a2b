"""What several input versions at once cost, and one that has to be rewritten."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro

from benchmarks.environments import FAST, worker
from benchmarks.rig import PARTITIONS, ROOT, Figures, Subject, fill, measure
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.directory import read_directory
from workers.contracts.framing import frame
from workers.contracts.schema import Schema, parse
from workers.testing import RealKafka

NEW_FIELDS = ("gate", "belt", "stand")
REWRITTEN = len(NEW_FIELDS) + 1
"""The last version has no derived output."""
EVENTS = 50_000
ROUNDS = 3
MIXES: dict[str, Sequence[int]] = {
    "one version": (1,),
    "two versions": (1, 2),
    "three versions": (1, 2, 3),
    "one in a hundred rewritten": (*(1,) * 99, REWRITTEN),
    "all rewritten": (REWRITTEN,),
}


def versions(kafka: RealKafka, values: list[bytes], folder: Path) -> dict[str, Figures]:
    """The worker, exactly once, on every mix; best of three rounds, the mixes by turns."""
    contracts = _contracts(folder)
    subjects = {name: _subject(name, contracts) for name in MIXES}
    for name, mix in MIXES.items():
        kafka.create_topic(_topic(name), PARTITIONS)
        fill(kafka.bootstrap_servers, _topic(name), _mixed(values, mix), subjects[name].events)
    best: dict[str, Figures] = {}
    for _ in range(ROUNDS):
        for name, subject in subjects.items():
            run = measure(subject, kafka, _topic(name))
            if name not in best or run.rate > best[name].rate:
                best[name] = run
    return best


def _subject(name: str, contracts: Path) -> Subject:
    events = FAST // 10 if name == "all rewritten" else FAST
    return replace(worker("exactly_once"), contracts=contracts, events=events)


def _topic(name: str) -> str:
    return f"flights.{name.replace(' ', '-')}"


def _schemas() -> list[Schema]:
    first = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    found = [first]
    for field in NEW_FIELDS:
        document = json.loads(found[-1].text)
        added = {"name": field, "type": ["null", "string"], "default": None}
        document["fields"].append(added)
        found.append(parse(json.dumps(document), where=field))
    return found


def _contracts(folder: Path) -> Path:
    """The shipped contracts and three more versions, the last one without derived output."""
    root = folder / "schemas"
    shutil.copytree(ROOT / "schemas", root)
    inputs, outputs = root / "flights-value", root / "flights.enriched-value"
    for number, schema in list(enumerate(_schemas(), 1))[1:]:
        (inputs / f"v{number}.avsc").write_text(schema.text)
        _entry(inputs, number, number)
        if number != REWRITTEN:
            output = max(int(file.stem[1:]) for file in outputs.glob("v*.avsc")) + 1
            (outputs / f"v{output}.avsc").write_text(derive(schema, enrichment_block()).text)
            _entry(outputs, output, 300 + number)
    return root


def _entry(home: Path, number: int, schema_id: int) -> None:
    with (home / "subject.yaml").open("a") as file:
        file.write(f"  {number}: {{id: {schema_id}}}\n")


def _mixed(values: list[bytes], mix: Sequence[int]) -> list[bytes]:
    """Real events, each written under a version drawn from the mix."""
    schemas, rng = _schemas(), random.Random(2013)
    found = []
    for value in values[:EVENTS]:
        number = rng.choice(mix)
        if number > 1:
            event: Any = fastavro.schemaless_reader(
                io.BytesIO(value[5:]), schemas[0].parsed, schemas[number - 1].parsed
            )
            stream = io.BytesIO()
            fastavro.schemaless_writer(stream, schemas[number - 1].parsed, event)
            value = frame(number) + stream.getvalue()
        found.append(value)
    return found


def table(best: dict[str, Figures]) -> list[str]:
    """Markdown."""
    whole = best["one version"].rate
    lines = [
        "",
        "## Several input versions at once",
        "",
        "The worker, exactly once, on events of one or more versions of the input, mixed record by "
        "record. A version without a derived output is rewritten, record by record, to the newest "
        "that has one.",
        "",
        "| events of | events/s | CPU µs/event | of one version |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {run.rate:,.0f} | {run.cpu:.1f} | {run.rate / whole:.2f} |"
        for name, run in best.items()
    ]
    return lines
