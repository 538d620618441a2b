"""A topology that cannot be used is refused with every fault, each with its line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from workers.errors import TopologyError
from workers.topology import Delivery, Topology, json_schema, load, retention_settings
from workers.wiring import pick

GOOD = """\
version: 1
broker:
  bootstrap_servers: ${SERVERS:-127.0.0.1:9092}
contracts: {directory: schemas}
models: {directory: models}
workers:
  w:
    input: {topic: in}
    output: {topic: out}
    dead_letter: {topic: dlq}
    model: {name: m, version: "1"}
    first_start: earliest
"""


def read(folder: Path, text: str, **env: str) -> Topology:
    """Load `text` as the topology of a folder that has contracts and models."""
    for name in ("schemas", "models"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "topology.yaml").write_text(text)
    return load(folder / "topology.yaml", env)


def test_defaults_follow_names(tmp_path: Path) -> None:
    """Group, subjects and transactional id have the defaults that operators expect."""
    worker = read(tmp_path, GOOD).workers["w"]

    assert (worker.name, worker.group, worker.transactional_id) == ("w", "w", "w")
    assert (worker.input.subject, worker.output.subject) == ("in-value", "out-value")
    assert worker.delivery is Delivery.EXACTLY_ONCE
    assert worker.batch.linger == 0.02


def test_a_shadow_has_its_subject_and_takes_everything(tmp_path: Path) -> None:
    """Unless something else is written."""
    shadow = read(tmp_path, worker_line("shadow: {topic: s}")).workers["w"].shadow

    assert shadow is not None
    assert (shadow.subject, shadow.share, shadow.timeout) == ("s-value", 1.0, 5.0)


def test_the_environment_is_substituted(tmp_path: Path) -> None:
    """A variable wins over its default; a whole scalar may be a number."""
    text = GOOD.replace("first_start: earliest", "first_start: latest\n    score_threads: ${N}")

    topology = read(tmp_path, text, SERVERS="b:1", N="3")

    assert topology.broker.bootstrap_servers == "b:1"
    assert topology.workers["w"].score_threads == 3


def worker_line(line: str) -> str:
    """The good topology with one more line in its worker."""
    return GOOD + f"    {line}\n"


FAULTS = [
    (worker_line("delivery: twice"), "topology.yaml:13: workers.w.delivery"),
    (worker_line("delivry: at_least_once"), "did you mean delivery?"),
    (worker_line("batch: {linger: 50}"), "topology.yaml:13: workers.w.batch.linger: not a dur"),
    (worker_line("batch: {max_records: 0}"), "workers.w.batch.max_records"),
    (worker_line("batch: {max_bytes: -1}"), "workers.w.batch.max_bytes"),
    (worker_line("consumer: {enable.auto.commit: true}"), "offsets move only when"),
    (worker_line("consumer: {auto.offset.reset: latest}"), "write `first_start`"),
    (GOOD.replace("contracts:", "  client: {plugin.library.paths: x}\ncontracts:"), "no plugins"),
    (worker_line("producer: {https.ca.location: x}"), "broker.security.sasl.oauth.ca"),
    (worker_line("producer: {sasl.password: hunter2}"), "write `broker.security`"),
    (
        worker_line("protocol: consumer\n    consumer: {session.timeout.ms: 6000}"),
        "may not be set with protocol: consumer",
    ),
    (worker_line("transaction_timeout: 1h"), "over 15m"),
    (worker_line("shadow: {topic: in}"), "shadow and input are both in"),
    (worker_line("shadow: {topic: s, share: 0}"), "topology.yaml:13: workers.w.shadow.share"),
    (worker_line("shadow: {topic: s, share: 1.5}"), "workers.w.shadow.share"),
    (worker_line("shadow: {topic: s, timeout: 1ms}"), "timeout must be from 10ms to 5m"),
    (worker_line("shadow: {topic: s, queue: 0}"), "workers.w.shadow.queue"),
    (GOOD.replace("out}", "in}"), "output and input are both in"),
    (GOOD.replace("dlq}", "in}"), "dead_letter and input are both in"),
    (GOOD.replace("dlq}", "out}"), "dead_letter and output are both out"),
    (GOOD.replace("    first_start: earliest\n", ""), "workers.w.first_start: is needed"),
    (GOOD.replace("${SERVERS:-127.0.0.1:9092}", "${SERVERS}"), "the environment has no SERVERS"),
    (
        GOOD.replace('version: "1"}', 'version: "1", poll: 6s}'),
        "poll is 10ms at least and 5s at most",
    ),
    (GOOD.replace("directory: schemas", "directory: nowhere"), "topology.yaml:4: contracts.direc"),
    (GOOD.replace("directory: models", "url: models"), "models.url: not a url such as"),
    (GOOD.replace("directory: models", 'url: "ftp://me:hunter2@h/x"'), "no password in `url`"),
    (GOOD.replace("directory: models", ""), "write one of `directory`, `url` and `mlflow`"),
    (
        GOOD.replace("directory: models", "directory: models, options: {key: x}"),
        "belong to a `url`",
    ),
    (
        GOOD.replace("directory: models", 'mlflow: {url: "http://me:hunter2@h"}'),
        "no user or password in `url`",
    ),
    (
        GOOD.replace("directory: models", 'mlflow: {url: "http://h"}, timeout: 1m'),
        "`timeout` is at most 15s",
    ),
    (GOOD.replace("version: 1\n", "version: 2\n"), "topology.yaml:1: version"),
    (GOOD.replace("  w:", "  W:"), "topology.yaml:7: workers.W"),
    (GOOD + "version: 1\n", "topology.yaml"),
    ("a: &x [1]\nb: *x\n", "topology.yaml:2: aliases are not supported"),
    ("- 1\n", "must be a mapping"),
    ("", "must be a mapping"),
    ("a: [", "topology.yaml:"),
    ("\x00", "topology.yaml"),
]


@pytest.mark.parametrize(("text", "fragment"), FAULTS, ids=range(len(FAULTS)))
def test_each_fault_is_named(tmp_path: Path, text: str, fragment: str) -> None:
    """The message has the line, the field and the remedy."""
    with pytest.raises(TopologyError) as caught:
        read(tmp_path, text)

    assert fragment in str(caught.value)


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    """One run of the command is enough to mend the whole file."""
    text = worker_line("delivery: twice\n    nonsense: 1\n    batch: {linger: 50}")

    with pytest.raises(TopologyError) as caught:
        read(tmp_path, text.replace("${SERVERS:-127.0.0.1:9092}", "${NO_SUCH}"))

    assert len(str(caught.value).splitlines()) == 4


SECOND = """\
  v:
    input: {topic: out}
    output: {topic: %s}
    dead_letter: {topic: dlq2}
    model: {name: m, version: "1"}
    first_start: earliest
"""


def test_workers_that_would_harm_each_other_are_refused(tmp_path: Path) -> None:
    """No loops over several workers, no shared group, no shared transactional id."""
    with pytest.raises(TopologyError, match="endless loop"):
        read(tmp_path, GOOD + SECOND % "in")
    with pytest.raises(TopologyError, match="share the group"):
        read(tmp_path, GOOD + SECOND % "end" + "    group: w\n")
    with pytest.raises(TopologyError, match="share the transactional id"):
        read(tmp_path, GOOD + SECOND % "end" + "    transactional_id: w\n")


SECURED = GOOD.replace(
    "contracts:",
    "  security: {protocol: SASL_SSL, sasl: {mechanism: PLAIN, username: u, password: '${PW}'}}\n"
    "contracts:",
)


def test_secrets_are_used_and_never_printed(tmp_path: Path) -> None:
    """Neither in a representation, nor in the text of a fault."""
    topology = read(tmp_path, SECURED, PW="hunter2")

    assert topology.broker.security.client_properties()["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(topology)
    with pytest.raises(TopologyError) as caught:
        read(tmp_path, SECURED.replace("PLAIN,", "NOPE,") + "    nonsense: ${PW}\n", PW="hunter2")
    assert "hunter2" not in str(caught.value)


OAUTH = (
    "{protocol: SASL_SSL, sasl: {mechanism: OAUTHBEARER, oauth: {token_endpoint_url: 'http://h', "
)


def test_a_secret_may_be_in_a_file_that_is_read_when_a_client_is_made(tmp_path: Path) -> None:
    """As volumes of secrets have it, with a line's end; what is no secret is a fault."""
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    text = SECURED.replace("password: '${PW}'", f"password_file: {file}")
    security = read(tmp_path, text).broker.security

    assert security.client_properties()["sasl.password"] == "hunter2"
    file.write_text("hunter3")
    assert security.client_properties()["sasl.password"] == "hunter3"
    for nothing in (b"", b"\n", b"\xff\xfe", b"x" * 100_000):
        file.write_bytes(nothing)
        with pytest.raises(TopologyError, match="no secret"):
            security.client_properties()
    file.unlink()
    with pytest.raises(TopologyError, match="no secret can be read: FileNotFoundError"):
        security.client_properties()


@pytest.mark.parametrize(
    ("security", "fragment"),
    [
        ("{protocol: SASL_SSL}", "come together"),
        ("{sasl: {mechanism: PLAIN, username: u, password: p}}", "come together"),
        ("{protocol: SASL_SSL, sasl: {mechanism: PLAIN}}", "needs `username`, and `password` or"),
        (
            "{protocol: SASL_SSL, sasl: {mechanism: PLAIN, username: u, password: p,"
            " password_file: topology.yaml}}",
            "needs `username`, and `password` or `password_file`",
        ),
        (f"{OAUTH}client_id: c}}}}}}", "write one of `client_secret`, `client_secret_file`"),
        (f"{OAUTH}client_secret: s}}}}}}", "`client_id` and a secret come together"),
        (
            "{protocol: SASL_SSL, sasl: {mechanism: OAUTHBEARER, oauth:"
            " {token_endpoint_url: 'https://u:p@h/t', client_id: c, client_secret: s}}}",
            "no user or password in `token_endpoint_url`",
        ),
        ("{protocol: SASL_SSL, sasl: {mechanism: GSSAPI}}", "needs `kerberos`"),
        ("{protocol: SSL, tls: {ca: no-such-file.pem}}", "does not point to a file"),
        ("{tls: {verify_hostname: false}}", "`tls` needs SSL"),
    ],
)
def test_incomplete_security_is_refused(tmp_path: Path, security: str, fragment: str) -> None:
    """The fault says what belongs together."""
    with pytest.raises(TopologyError, match=fragment):
        read(tmp_path, GOOD.replace("contracts:", f"  security: {security}\ncontracts:"))


def test_the_shipped_topology_is_good_and_its_schema_complete() -> None:
    """The schema for editors describes every key."""
    assert load(ROOT / "topology.yaml", {}).workers.keys() == {"flight-delays"}
    for name, definition in json_schema()["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            assert value.keys() & {"description", "$ref"}, f"{name}.{key}"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("12h", {"cleanup.policy": "delete", "retention.ms": "43200000"}),
        ("2w", {"cleanup.policy": "delete", "retention.ms": "1209600000"}),
        ("forever", {"cleanup.policy": "delete", "retention.ms": "-1"}),
        ("compact", {"cleanup.policy": "compact"}),
    ],
)
def test_a_retention_becomes_kafkas_settings(text: str, settings: dict[str, str]) -> None:
    """Written as in subject.yaml."""
    assert retention_settings(text) == settings


@pytest.mark.parametrize("retention", ["7", "7 days", "-1d", "0x7d", ""])
def test_a_retention_that_is_none_is_a_fault_with_its_line(tmp_path: Path, retention: str) -> None:
    """With the forms that there are."""
    text = GOOD.replace(
        "output: {topic: out}", f'output: {{topic: out, settings: {{retention: "{retention}"}}}}'
    )

    with pytest.raises(TopologyError, match=r"topology.yaml:9: .*retention: not a retention"):
        read(tmp_path, text)


RETRIES = "retries: {topics: [{topic: soon, delay: 1m}, {topic: later, delay: 1h}]}"


def test_each_retry_topic_is_read_by_a_worker_of_its_own(tmp_path: Path) -> None:
    """One hands on to the next; the last one's failures are dead letters."""
    workers = read(tmp_path, worker_line(RETRIES)).workers

    assert list(workers) == ["w", "w.retry1", "w.retry2"]
    assert [each.input.topic for each in workers.values()] == ["in", "soon", "later"]
    assert {each.input.subject for each in workers.values()} == {"in-value"}
    assert [each.group for each in workers.values()] == ["w", "w.retry1", "w.retry2"]
    assert [each.known_as for each in workers.values()] == ["w", "w", "w"]
    after = [each.retry_topic.topic if each.retry_topic else None for each in workers.values()]
    assert after == ["soon", "later", None]
    tier = workers["w.retry2"].tier
    assert tier is not None
    assert (tier.topic, tier.number, tier.delay) == ("in", 2, 3600.0)


def test_a_worker_is_still_the_only_one_beside_those_that_retry_for_it(tmp_path: Path) -> None:
    """Nobody has to name it."""
    assert pick(read(tmp_path, worker_line(RETRIES)), None).name == "w"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("retries: {topics: [{topic: in, delay: 1m}]}", "are both in"),
        ("retries: {topics: [{topic: dlq, delay: 1m}]}", "are both dlq"),
        ("retries: {topics: [{topic: soon}]}", "delay"),
        ("retries: {tries: 11}", "tries"),
        ("tier: {worker: x, topic: in, number: 1, delay: 1s}", "do not write it"),
    ],
)
def test_retries_that_cannot_work_are_refused(tmp_path: Path, line: str, fault: str) -> None:
    """With what is wrong."""
    with pytest.raises(TopologyError, match=fault):
        read(tmp_path, worker_line(line))
