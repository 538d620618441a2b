"""Repairs: a record that failed, made into one that may pass."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from typing import Any

import fastavro
import polars as pl

from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import locate
from workers.contracts.strict import Malformed
from workers.deadletters.masking import decoded
from workers.enrich.batch import Batch
from workers.errors import Reject, TopologyError
from workers.models.expressions import parse_expression
from workers.topology import Transform

Repair = Callable[[dict[str, Any]], Mapping[str, Any]]


class NotRepaired(Exception):  # noqa: N818  what became of it
    """The transform cannot do anything with this record; says why, without its content."""


def compiled(name: str, transform: Transform) -> Repair:
    """The transform as a function of a record.

    Raises:
        TopologyError: there is no such function.
        ModelError: an expression is none.
    """
    if transform.python is None:
        return _sql(transform.sql)
    module, _, function = transform.python.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise TopologyError(f"transforms.{name}.python {transform.python}: {error}") from error
    if not callable(found):
        raise TopologyError(f"transforms.{name}.python {transform.python} is no function")
    repair: Repair = found
    return repair


def repaired(batch: Batch, repair: Repair, contracts: Catalogue) -> Batch:
    """The batch of one row with its record repaired; it stays one of its own schema.

    Raises:
        NotRepaired: it cannot be decoded, or what comes back is no record of its schema.
    """
    value = batch.values[0]
    if value is None:
        raise NotRepaired("it has no value")
    try:
        located = locate(value, batch.headers[0])
    except Reject as reject:
        raise NotRepaired(str(reject)) from reject
    found = None if located is None else contracts.find(located[0])
    if located is None or found is None:
        raise NotRepaired("it names no schema of the contracts")
    start = located[1]
    try:
        record = repair(decoded(found.schema, value[start:]))
        out = io.BytesIO()
        fastavro.schemaless_writer(out, found.schema.parsed, dict(record), strict=True)
    except Malformed as error:
        raise NotRepaired(str(error)) from error
    except Exception as error:
        # The text of whatever it was may repeat content.
        raise NotRepaired(f"the transform fails: {type(error).__name__}") from error
    made = batch.select([0])
    made.values[0] = value[:start] + out.getvalue()
    return made


def _sql(expressions: Mapping[str, str]) -> Repair:
    parsed = {name: parse_expression(text).alias(name) for name, text in expressions.items()}

    def repair(record: dict[str, Any]) -> Mapping[str, Any]:
        row = pl.DataFrame([record]).select(list(parsed.values())).row(0, named=True)
        return {**record, **row}

    return repair
