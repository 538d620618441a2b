"""How old events are, and which are too old to decide about."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workers.contracts.schema import Schema
from workers.enrich.batch import Batch
from workers.enrich.reading import Rows
from workers.errors import Code, ContractError, Reject
from workers.topology import Staleness

Ages = npt.NDArray[np.float64]
"""Seconds, a place an entry; NaN where an event has no time."""


Old = npt.NDArray[np.bool_]
"""A place an entry."""


def check_staleness(settings: Staleness | None, schema: Schema) -> frozenset[str]:
    """The fields that it reads, held to the contract.

    Raises:
        ContractError: `staleness.field` is not there, or holds no time.
    """
    if settings is None or settings.field is None:
        return frozenset()
    nodes = dict(schema.root.children)
    node = nodes.get(settings.field)
    inner = node and (node.nullable or node)
    family = ((inner and inner.logical) or "").rpartition("-")[0]
    if inner is None or (family != "timestamp" and inner.logical != "date"):
        raise ContractError(f"staleness.field: the contract has no timestamp {settings.field}")
    return frozenset([settings.field])


def ages(settings: Staleness, batch: Batch, rows: Rows) -> Ages:
    """How old each event was when it was polled; 0 where its time is still to come."""
    if settings.field is None:
        times = np.array([batch.timestamps[row][1] for row in rows.rows], dtype=np.float64)
        times[times <= 0] = np.nan
    else:
        column = rows.table.column(settings.field)
        milliseconds = column.cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64())
        times = milliseconds.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.maximum((batch.now - times) / 1000, 0)


def stale(settings: Staleness, found: Ages) -> Old:
    """Places of those over the limit; one without a time is not."""
    with np.errstate(invalid="ignore"):
        return np.asarray(found > settings.limit, dtype=np.bool_)


def rejection(settings: Staleness) -> Reject:
    """Why a stale event is a dead letter."""
    return Reject(Code.STALE, f"the event is older than staleness.limit {settings.limit:g} s")
