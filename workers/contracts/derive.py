"""The enriched schema: the input's fields and, after them, the enrichment block.

A record's bytes are its fields' bytes one after the other (Avro 1.12, "Complex Types: Records"), so
a datum of the enriched schema is the input's datum, unchanged, followed by the block's.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from workers.contracts.schema import Schema, parse
from workers.errors import ContractError

BLOCK_FIELD = "enrichment"


@cache
def enrichment_block() -> Schema:
    """The newest version of the block's schema."""
    text = resources.files(__package__).joinpath("enrichment-v1.avsc").read_text()
    return parse(text, where="enrichment-v1.avsc")


def derive(source: Schema, block: Schema) -> Schema:
    """The schema of events of `source` enriched with `block`.

    Raises:
        ContractError: the input has a field, or a type, named as the block's.
    """
    if BLOCK_FIELD in source.field_names:
        raise ContractError(
            f"{source.full_name}: the field {BLOCK_FIELD!r} is there already; an event cannot be "
            "enriched twice under one name"
        )
    document: dict[str, Any] = json.loads(source.text)
    document["name"] = f"{document['name']}Enriched"
    document["doc"] = f"{source.full_name} and what the model said of it. Derived; do not edit."
    added = {"name": BLOCK_FIELD, "type": json.loads(block.text), "doc": block.document["doc"]}
    document["fields"] = [*document["fields"], added]
    return parse(json.dumps(document, indent=2), where=f"{source.full_name} enriched")


def is_derived(candidate: Schema, source: Schema, block: Schema) -> bool:
    """Do the input's bytes and then the block's make a datum of `candidate`?"""
    expected = (*source.root.children, (BLOCK_FIELD, block.root))
    return candidate.root.children == expected
