"""The decision record: the enrichment block's fields, then what is needed to learn from it.

Its bytes are the block's, unchanged, and then the tail's, so the block is encoded once for the
enriched event and the decision. Subjects derived before the tail was there have the block alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from workers.contracts.catalogue import Catalogue
from workers.contracts.derive import enrichment_block
from workers.contracts.schema import Schema, parse

VARYING = 10
"""Fields of the tail, the first ones, that are another for each event."""


@dataclass(frozen=True, slots=True)
class DecisionFrame:
    """How a worker's decisions are framed; `tailed`: does the tail follow the block?"""

    prefix: bytes
    tailed: bool
    schema: Schema


@cache
def decision_tail() -> Schema:
    """What follows the block."""
    text = resources.files(__package__).joinpath("decision-v1.avsc").read_text()
    return parse(text, where="decision-v1.avsc")


@cache
def tail_parts() -> tuple[Schema, Schema]:
    """The tail in two: what varies from event to event, and what only a new version changes."""
    document = dict(decision_tail().document)
    fields = document["fields"]
    parts = (fields[:VARYING], fields[VARYING:])
    varying, fixed = (
        parse(json.dumps({**document, "fields": part}), where="decision-v1.avsc") for part in parts
    )
    return varying, fixed


def decision_schema(block: Schema | None = None) -> Schema:
    """The record of a block, by default the newest, and the tail.

    It keeps the block's name: subjects that have the block alone go on with a version more.
    """
    document: dict[str, Any] = json.loads((block or enrichment_block()).text)
    document["doc"] = "A decision, and what is needed to learn from it without its event."
    document["fields"] = [*document["fields"], *decision_tail().document["fields"]]
    return parse(json.dumps(document, indent=2), where="the decision record")


def decision_frame(contracts: Catalogue, subject: str, block: Schema) -> DecisionFrame | None:
    """The newest version of a subject that is a decision record with this block.

    None: there is none. A version without id is a draft that no record can be framed with.
    """
    whole = decision_schema(block).root
    known = [each for each in contracts.versions(subject).values() if each.id is not None]
    for version in reversed(known):
        if version.schema.root in (whole, block.root):
            tailed = version.schema.root == whole
            return DecisionFrame(version.frame, tailed, version.schema)
    return None
