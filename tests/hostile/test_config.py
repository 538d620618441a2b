"""A topology that is hostile or merely wrong is refused by line, at once, and tells no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.topology.test_load import GOOD, read, worker_line
from workers.errors import TopologyError

NINES = "9" * 400
HIDDEN = "hunter2"


def topic(name: str) -> str:
    """The good topology with another input."""
    return GOOD.replace("topic: in}", f"topic: {name}}}")


REFUSED = {
    "endless duration": (worker_line(f"drain_timeout: {NINES}h"), "drain_timeout: must be"),
    "duration over a year": (worker_line("retry: {max: 9000h}"), "at most a year"),
    "no time to wait": (worker_line("retry: {initial: 0s}"), "retry.initial: must be more than 0"),
    "no time for a transaction": (worker_line("transaction_timeout: 0s"), "must be more than 0"),
    "no time for the watchdog": (worker_line("watchdog: 0ms"), "watchdog: must be more than 0"),
    "negative duration": (worker_line("watchdog: -1s"), "not a duration"),
    "duration without unit": (worker_line("watchdog: 60"), "not a duration"),
    "endless size": (worker_line(f"batch: {{max_bytes: {NINES}}}"), "batch.max_bytes: must be"),
    "empty size": (worker_line("limits: {max_payload_bytes: 0}"), "max_payload_bytes: must be"),
    "size of a boolean": (worker_line("batch: {max_bytes: true}"), "not a size"),
    "a fraction": (worker_line("score_threads: 1.5"), "valid integer"),
    "no number": (worker_line("breaker: {share: .nan}"), "breaker.share"),
    "infinity": (worker_line("breaker: {share: .inf}"), "breaker.share"),
    "a date for a topic": (topic("2013-10-01"), "input.topic: Input should be a valid string"),
    "no topic": (topic(""), "input.topic: Input should be a valid string"),
    "a path for a topic": (topic("../in"), "input.topic: String should match"),
    "a long topic": (topic("x" * 250), "input.topic: String should match"),
    "a topic of another alphabet": (topic("\u00fc"), "input.topic: String should match"),
    "half a character": (worker_line('group: "\\ud800"'), "workers.w.group"),
    "a path for a model": (GOOD.replace("name: m,", "name: ../../etc,"), "model.name: String"),
    "a path for a version": (GOOD.replace('"1"', '"../1"'), "model.version: String should match"),
    "a path for a subject": (topic("in, subject: ../x"), "input.subject: String should match"),
    "a path for an instance": (worker_line("instance: ../../x"), "instance: String should match"),
    "lines in an instance": (worker_line('instance: "a\\nb"'), "instance: String should match"),
    "a path for a worker": (GOOD.replace("  w:", "  ../w:"), "String should match"),
    "a folder that is a file": (
        GOOD.replace("schemas", "topology.yaml"),
        "not point to a directory",
    ),
    "a registry that is a file": (
        GOOD.replace("directory: schemas", 'registry: {url: "file:///etc/passwd"}'),
        "URL scheme should be",
    ),
    "an object of Python": (
        worker_line('group: !!python/object/apply:os.system ["true"]'),
        "topology.yaml:13: tags such as tag:yaml.org,2002:python/object/apply:os.system",
    ),
    "a tag": (worker_line("group: !secret bar"), "topology.yaml:13: tags such as !secret"),
    "a merge key": (worker_line("<<: {group: x}"), "topology.yaml:13: merge keys"),
    "a key twice": (worker_line("group: a\n    group: b"), "topology.yaml:14: found duplicate key"),
    "a key that is a list": (worker_line("? [a]\n    : 1"), "Keys should be strings"),
    "a key that is a number": (worker_line("1: 2"), "Keys should be strings"),
    "two documents": (f"{GOOD}---\n{GOOD}", "found another document"),
    "a zero byte": (f"{GOOD}# \x00", "not YAML"),
    "deep lists": ("a: " + "[" * 50_000, "topology.yaml:1: nested deeper than 32"),
    "deep maps": ("a: " + "{a: " * 50_000, "topology.yaml:1: nested deeper than 32"),
    "two megabytes": (f"{GOOD}#{'x' * 2_000_000}", "2000281 bytes, more than 1000000"),
    "a bomb of aliases": (
        "a: &a [x, x]\n" + "".join(f"a{n}: &a{n} [*a, *a]\n" for n in range(50)),
        "topology.yaml:2: aliases are not supported",
    ),
    "auto commit": (worker_line("consumer: {enable.auto.commit: true}"), "may not be set"),
    "dirty reads": (worker_line("consumer: {isolation.level: read_uncommitted}"), "may not be set"),
    "another identity": (worker_line("producer: {transactional.id: x}"), "may not be set"),
    "static identity": (worker_line("consumer: {group.instance.id: x}"), "may not be set"),
    "heartbeats of the other protocol": (
        worker_line("protocol: consumer\n    consumer: {heartbeat.interval.ms: 6000}"),
        "may not be set with protocol: consumer",
    ),
    "keys in order and nobody to release them": (
        worker_line("sequence: key"),
        "sequence: key needs dead_letter.ledger",
    ),
    "keys in order and out of order": (
        GOOD.replace("topic: dlq}", "topic: dlq, ledger: {topic: ledger}}").replace(
            "first_start:",
            "sequence: key\n    retries: {topics: [{topic: r, delay: 1s}]}\n    first_start:",
        ),
        "sequence: key keeps the order of a key and retries.topics give it up",
    ),
    "a secret in a wrong place": (worker_line("nonsense: ${PW}"), "unknown key"),
    "a secret for a number": (worker_line("score_threads: ${PW}"), "workers.w.score_threads"),
    "a secret for a duration": (worker_line("watchdog: ${PW}"), "workers.w.watchdog"),
    "a secret for a name": (worker_line('group: "${PW} "'), "workers.w.group"),
    "a secret for a property": (
        worker_line("producer: {ssl.key.password: '${PW}'}"),
        "may not be set: write `broker.security`",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_topology_is_refused_by_line(tmp_path: Path, name: str) -> None:
    """Nothing is built of it, and what the environment holds is not told."""
    text, said = REFUSED[name]

    with pytest.raises(TopologyError) as caught:
        read(tmp_path, text, PW=HIDDEN)

    assert said in str(caught.value)
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("static_membership: no", False),
        ("static_membership: yes", True),
        ("score_threads: 010", 10),
    ],
)
def test_scalars_mean_what_they_look_like(tmp_path: Path, line: str, value: object) -> None:
    """`no` is false, and a leading zero makes no octal number (YAML 1.2)."""
    worker = read(tmp_path, worker_line(line)).workers["w"]

    assert getattr(worker, line.split(":")[0]) == value
