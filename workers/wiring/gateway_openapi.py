"""The gateway's OpenAPI document, of the contracts that it serves now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workers.contracts.directory import read_directory
from workers.gateway.decisions import Desk
from workers.gateway.openapi import Described, document
from workers.governance.examples import example_files
from workers.topology import Topology


def openapi_of(topology: Topology, desks: Mapping[str, Desk]) -> dict[str, Any]:
    """One path a worker, with its newest contract and that one's examples."""
    keys = topology.gateway is not None and topology.gateway.idempotency is not None
    return document((_described(topology, desk) for desk in desks.values()), keys=keys)


def _described(topology: Topology, desk: Desk) -> Described:
    readings = desk.service.readings
    return Described(
        desk.name,
        readings.schemas[readings.newest],
        desk.service.enricher.binding.block,
        desk.service.enricher.policy.blocks,
        versions=sorted(readings.by_version),
        examples=_examples(topology, desk.service.worker.input.subject, readings.newest),
    )


def _examples(topology: Topology, subject: str, version: int) -> dict[str, Any]:
    """The contract's own examples, where contracts are files."""
    if topology.contracts.directory is None:
        return {}
    folder = read_directory(topology.contracts.directory).folder(subject)
    files = [] if folder is None else example_files(folder, version)
    return {file.stem: json.loads(file.read_text()) for file in files}
