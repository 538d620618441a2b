"""Write the month that the repository ships: `python -m examples.flights.export_month`."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from examples.flights.events import MONTH, full_year

if __name__ == "__main__":
    start, end = datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC)
    month = full_year().filter(pl.col("scheduled_departure").is_between(start, end, closed="left"))
    month.write_parquet(MONTH, compression="zstd", compression_level=19)
    print(f"{MONTH}: {len(month)} events")
