"""`workers`, as if its schemas might contain themselves: reading one record deeply ends fastavro.

`python -m tests.faults.recursion run -t FILE`. The worker refuses such schemas when it loads them,
so that no record reaches a decoder under one; this takes that away for records with `DEEP` in them
and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import fastavro

from workers.cli import app
from workers.contracts.codec import Decoded, Decoder

SCHEMA = fastavro.parse_schema(
    {"type": "record", "name": "R", "fields": [{"name": "r", "type": ["null", "R"]}]}
)
DEEP = b"\x02" * 60_000
"""A record in a record in a record: sixty thousand levels."""


def main() -> None:
    """The command line, with another decoder."""
    strict = Decoder.decode

    def decode(self: Decoder, datums: Sequence[bytes]) -> Decoded:
        if any(DEEP in datum for datum in datums):
            fastavro.schemaless_reader(io.BytesIO(DEEP), SCHEMA, None)
        return strict(self, datums)

    Decoder.decode = decode  # type: ignore[method-assign]
    app()


if __name__ == "__main__":
    main()
