"""Score a history of flights in Spark.

spark-submit examples/flights/history.py topology.yaml events.parquet scored.parquet
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from workers.spark import OUTCOMES, score_partitions


def main(topology: str, source: str, target: str) -> None:
    """Write an outcome row for each row of `source`, and print how many have each verdict."""
    spark = SparkSession.builder.appName("score-history").getOrCreate()
    try:
        events = spark.read.parquet(source)
        scored = events.mapInArrow(score_partitions(topology), OUTCOMES)
        scored.write.parquet(target)
        spark.read.parquet(target).groupBy("verdict").count().show()
    finally:
        spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
