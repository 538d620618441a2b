"""Run by Spark: how often each of its processes loaded the model, and what is kept beside a row.

python spark_loads.py TOPOLOGY EVENTS TARGET
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

from workers import spark as tested
from workers.spark import OUTCOMES, score_partitions


def main(topology: str, source: str, target: str) -> None:
    """A row for each row: its process, how often that loaded, and its outcome."""
    score = score_partitions(topology, "flight-delays", keep=["flight_id"])

    def watched(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in score(batches):
            own = {name: batch.column(name) for name in batch.schema.names}
            count, loads = batch.num_rows, tested._path.cache_info().misses
            own["process"] = pa.array([os.getpid()] * count, pa.int32())
            own["loads"] = pa.array([loads] * count, pa.int32())
            yield pa.RecordBatch.from_pydict(own)

    session = SparkSession.builder.getOrCreate()
    events = session.read.parquet(source).repartition(8)
    schema = f"{OUTCOMES}, flight_id string, process int, loads int"
    events.mapInArrow(watched, schema).write.parquet(target)
    session.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
