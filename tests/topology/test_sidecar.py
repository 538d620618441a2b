"""A topology in which a sidecar could disturb what it stands beside is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.topology.test_load import read
from workers.errors import TopologyError
from workers.topology import Mode, Shape

HEAD = """\
version: 1
broker: {bootstrap_servers: b}
contracts: {directory: schemas}
models: {directory: models}
workers:
"""
DEFAULTS = {
    "input": "{topic: in}",
    "output": "{topic: out}",
    "dead_letter": "{topic: dlq}",
    "model": '{name: m, version: "1"}',
    "first_start": "earliest",
}


def worker(name: str, **changes: str) -> str:
    """A sidecar as it is written; `changes` replace or add lines."""
    lines = {"mode": "sidecar", **DEFAULTS, **changes}
    return f"  {name}:\n" + "".join(f"    {key}: {text}\n" for key, text in lines.items())


ALONE = {"output": "{topic: out2}", "dead_letter": "{topic: dlq2}"}


def test_a_sidecar_may_stand_beside_a_worker(tmp_path: Path) -> None:
    """Another group of the same topic, topics of its own; what it writes a worker may read."""
    text = HEAD + worker("a") + worker("b", **ALONE, mode="pipeline")
    chained = {"input": "{topic: out}", "output": "{topic: o3}", "dead_letter": "{topic: d3}"}

    found = read(tmp_path, text + worker("c", **chained, mode="pipeline")).workers

    assert [found[name].mode for name in "abc"] == [Mode.SIDECAR, Mode.PIPELINE, Mode.PIPELINE]


def test_with_headers_the_output_has_the_contract_of_the_input(tmp_path: Path) -> None:
    """Its values are the input's."""
    text = HEAD + worker("a", output="{topic: out, shape: headers}")

    found = read(tmp_path, text).workers["a"]

    assert found.output.shape is Shape.HEADERS
    assert found.output.subject == found.input.subject == "in-value"


FAULTS = [
    (worker("a", output="{topic: in}"), "output and input are both in"),
    (worker("a", dead_letter="{topic: in}"), "dead_letter and input are both in"),
    (
        worker("a") + worker("b", **{**ALONE, "output": "{topic: out}"}, mode="pipeline"),
        "sidecar a writes out, which is worker b's output too",
    ),
    (
        worker("a") + worker("b", **{**ALONE, "dead_letter": "{topic: dlq}"}),
        "sidecar a writes dlq, which is worker b's dead_letter too",
    ),
    (
        worker("a") + worker("b", **ALONE, input="{topic: out}"),
        "sidecar a writes out, which sidecar b stands beside",
    ),
    (worker("a") + worker("b", **ALONE, group="a"), "share the group 'a'"),
    (worker("a") + worker("b", **ALONE, transactional_id="a"), "share the transactional id 'a'"),
    (
        worker("a", output="{topic: out, subject: in-value}"),
        "output.subject is the source's",
    ),
    (
        worker("a", decisions="{topic: d, subject: in-value}"),
        "decisions.subject is the source's",
    ),
    (
        worker("a", output="{topic: out, shape: headers, subject: other-value}"),
        "so output.subject is in-value",
    ),
    (
        worker("a", output="{topic: out, shape: headers}", headers="drop"),
        "leave out headers: drop",
    ),
    (
        worker("a", output="{topic: out, shape: headers, block: avro}"),
        "write `decisions`",
    ),
    (worker("a", output="{topic: out, shape: header}"), "workers.a.output.shape"),
]


@pytest.mark.parametrize(("text", "named"), FAULTS)
def test_what_could_disturb_is_refused(tmp_path: Path, text: str, named: str) -> None:
    """Each by its name."""
    with pytest.raises(TopologyError) as caught:
        read(tmp_path, HEAD + text)

    assert named in str(caught.value)


def test_retry_topics_of_a_sidecar_are_its_own(tmp_path: Path) -> None:
    """The workers that retry for it write where it writes, and are no others."""
    text = worker("a", retries="{topics: [{topic: later, delay: 5s}]}")

    found = read(tmp_path, HEAD + text).workers

    assert set(found) == {"a", "a.retry1"}
