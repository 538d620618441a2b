"""A challenger: a proven bundle, and what it needs of the champion's columns."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from workers.contracts.columns import arrow_type
from workers.contracts.schema import Schema
from workers.models.bundle import Bundle
from workers.models.features import Features


@dataclass(frozen=True, slots=True)
class Challenger:
    """`columns`: the fields that its features read, as its own contract version has them."""

    bundle: Bundle
    columns: dict[str, pa.DataType]

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self.bundle.manifest.version

    @property
    def decisions(self) -> list[str]:
        """By number of the band."""
        return [band.decision for band in self.bundle.manifest.decisions.bands]

    def misfit(self, table: pa.Schema) -> str:
        """Why it cannot score such a table; empty where it can."""
        lacking = [name for name in self.columns if name not in table.names]
        other = [
            f"{name} ({table.field(name).type}, not {kind})"
            for name, kind in self.columns.items()
            if name not in lacking and table.field(name).type != kind
        ]
        parts = []
        if lacking:
            parts.append(f"the champion's columns lack {', '.join(lacking)}")
        if other:
            parts.append(f"the champion's columns have another type: {', '.join(other)}")
        return "; ".join(parts)


def challenger(bundle: Bundle, schema: Schema) -> Challenger:
    """A bundle that `verify` accepted with this schema, the one that it is built for.

    Raises:
        ModelError: a feature is no SQL, or reads a field that is not there.
    """
    listed = bundle.manifest.features
    features = Features(listed, columns=[feature.name for feature in listed])
    features.check_fields(schema.field_names)
    nodes = dict(schema.root.children)
    return Challenger(bundle, {name: arrow_type(nodes[name]) for name in features.fields})
