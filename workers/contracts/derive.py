"""The enriched schema: the input's fields and, after them, an enrichment block for each model.

A record's bytes are its fields' bytes one after the other (Avro 1.12, "Complex Types: Records"), so
a datum of the enriched schema is the input's datum, unchanged, followed by the blocks'.

The block has versions too. What is derived with an older one stays right: a worker fills the newest
block that its output contract has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from workers.contracts.schema import Schema, parse
from workers.errors import ContractError

BLOCK_FIELD = "enrichment"
BLOCKS = (BLOCK_FIELD,)
"""Names of the blocks of a worker with one model."""
NEWEST_BLOCK = 2


@cache
def enrichment_block(version: int = NEWEST_BLOCK) -> Schema:
    """A version of the block's schema."""
    name = f"enrichment-v{version}.avsc"
    return parse(resources.files(__package__).joinpath(name).read_text(), where=name)


def block_versions() -> tuple[Schema, ...]:
    """Every version of the block, the newest first."""
    return tuple(enrichment_block(version) for version in range(NEWEST_BLOCK, 0, -1))


def derive(source: Schema, block: Schema, fields: Sequence[str] = BLOCKS) -> Schema:
    """The schema of events of `source` enriched with a block in each of `fields`.

    Raises:
        ContractError: the input has a field, or a type, named as a block.
    """
    if taken := sorted(set(fields) & set(source.field_names)):
        raise ContractError(
            f"{source.full_name}: the field {taken[0]!r} is there already; an event cannot be "
            "enriched twice under one name"
        )
    document: dict[str, Any] = json.loads(source.text)
    document["name"] = f"{document['name']}Enriched"
    document["doc"] = f"{source.full_name} and what the model said of it. Derived; do not edit."
    # A named type is written out once, and named after that.
    types = [json.loads(block.text), *[block.full_name] * (len(fields) - 1)]
    added = [
        {"name": name, "type": kind, "doc": block.document["doc"]}
        for name, kind in zip(fields, types, strict=True)
    ]
    document["fields"] = [*document["fields"], *added]
    return parse(json.dumps(document, indent=2), where=f"{source.full_name} enriched")


def is_derived(
    candidate: Schema, source: Schema, block: Schema, fields: Sequence[str] = BLOCKS
) -> bool:
    """Do the input's bytes and then the blocks' make a datum of `candidate`?"""
    expected = (*source.root.children, *((name, block.root) for name in fields))
    return candidate.root.children == expected
