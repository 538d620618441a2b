"""The demo from the first line to the last, on the embedded broker and on real Kafka."""

from __future__ import annotations

import re

import pytest

from tests.cli.test_cli import workers
from workers.testing import RealKafka


def shown(output: str) -> None:
    """The counts add up, the model is as good as it was in training, each pill is listed."""
    counts = re.search(r"([\d,]+) records in = ([\d,]+) enriched \+ (\d) dead letters", output)
    assert counts is not None, output[-2000:]
    assert counts.groups() == ("4,008", "4,000", "8")
    assert "every decision id once" in output
    quality = re.search(r"AUC against the real delays: (0\.\d+)", output)
    assert quality is not None
    assert float(quality.group(1)) > 0.85
    for code in ("unframed", "malformed", "unknown_schema", "other_subject", "range"):
        assert code in output


def test_the_demo_adds_up() -> None:
    """Real flights, eight broken records, the worker in a process of its own."""
    done = workers("demo", "--events", "4000", "--plain")

    assert done.returncode == 0, done.stderr
    shown(done.stdout)


@pytest.mark.kafka
def test_the_demo_adds_up_on_kafka(kafka: RealKafka) -> None:
    """The same on Apache Kafka; the topics are the demo's own."""
    done = workers(
        "demo",
        "--broker",
        "kafka",
        "--events",
        "4000",
        KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers,
    )

    assert done.returncode == 0, done.stderr
    shown(done.stdout)


def test_the_demo_needs_a_checkout() -> None:
    """Somewhere else it says so, with the topology's exit code."""
    done = workers("demo", "--topology", "absent.yaml")

    assert done.returncode == 3
    assert "absent.yaml" in done.stderr
