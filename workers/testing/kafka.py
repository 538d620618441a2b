"""Real Apache Kafka for tests and the demo, without asking for Docker.

In order: the servers named by KAFKA_BOOTSTRAP_SERVERS; a container where Docker answers; else a
KRaft process from Maven's jars, which needs Java 17 and mvn and downloads 43 MB once.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from workers.testing.downloads import COMPLETE, kept
from workers.testing.listeners import Secured

VERSION = "4.1.1"
IMAGE = f"apache/kafka:{VERSION}"
READY_SECONDS = 90.0
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>kafka-jars</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>"""


class Server(Protocol):
    """A cluster somebody else, Docker or Java runs."""

    bootstrap_servers: str

    def stop(self) -> None:
        """End what we started."""
        ...


class NoKafka(RuntimeError):  # noqa: N818  what there is, not an error of ours
    """None of the three ways to a broker is open here; says what each lacks."""


class _Given:
    def __init__(self, servers: str) -> None:
        self.bootstrap_servers = servers

    def stop(self) -> None:
        """It is not ours."""


class _Container:
    def __init__(self) -> None:
        from testcontainers.kafka import KafkaContainer

        self._container = KafkaContainer(IMAGE).with_kraft()
        self._container.start()
        self.bootstrap_servers: str = self._container.get_bootstrap_server()

    def stop(self) -> None:
        """Remove the container."""
        self._container.stop()


class LocalProcess:
    """One broker and controller in a Java process, its log in a temporary folder.

    With `secured` it has an authorizer and the listeners of that, whose addresses are `listeners`;
    whoever comes to `bootstrap_servers` is then a super user.

    Raises:
        NoKafka: Java or Maven is missing, or the jars cannot be had.
    """

    def __init__(self, heap: str = "512m", secured: Secured | None = None) -> None:
        self._java_options = () if secured is None else secured.java
        self._libs = jars()
        self._heap = heap
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._port, controller = free_port(), free_port()
        self.bootstrap_servers = f"127.0.0.1:{self._port}"
        self._properties = self._folder / "server.properties"
        properties = _server_properties(self._port, controller, self._folder)
        self.listeners: dict[str, str] = {}
        storage = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id()}"]
        if secured is not None:
            ports = {name: free_port() for name in secured.listeners}
            self.listeners = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
            properties += secured.properties(controller, self._port, ports)
            storage += secured.format_options()
        self._properties.write_text(properties)
        done = subprocess.run(
            self._java(*storage, "-c", str(self._properties)), capture_output=True, check=False
        )
        if done.returncode != 0:
            raise NoKafka(f"formatting the broker's storage failed: {done.stderr[-2000:]!r}")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the process on the same port and storage."""
        log = (self._folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            self._java("kafka.Kafka", str(self._properties)), stdout=log, stderr=log
        )
        log.close()

    @property
    def folder(self) -> Path:
        """Its properties, its log, and its storage in `data`."""
        return self._folder

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise NoKafka("the broker is not running")
        return self._process.pid

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the process and remove its storage."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _java(self, *command: str) -> list[str]:
        return [
            "java", f"-Xmx{self._heap}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *self._java_options,
            "-cp", f"{self._libs}/*", *command,
        ]  # fmt: skip


class RealKafka:
    """A cluster with what tests need of an admin."""

    def __init__(self, server: Server) -> None:
        """Waits until the cluster answers.

        Raises:
            NoKafka: it did not within `READY_SECONDS`.
        """
        self.server = server
        self.bootstrap_servers = server.bootstrap_servers
        self.admin = AdminClient({"bootstrap.servers": server.bootstrap_servers, "log_level": 0})
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                if self.admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException as error:
                if time.monotonic() > deadline:
                    server.stop()
                    raise NoKafka(f"the broker was not ready in {READY_SECONDS:g} s") from error

    def create_topic(self, name: str, partitions: int, **settings: str) -> None:
        """Make a topic; in the names of settings underscores stand for dots."""
        # Kept for ever: tests write timestamps of years ago, which retention goes by.
        config = {"retention.ms": "-1"}
        config |= {key.replace("_", "."): value for key, value in settings.items()}
        topic = NewTopic(name, num_partitions=partitions, config=config)
        self.admin.create_topics([topic])[name].result(30)
        # The controller has it; a broker tells of it a moment later.
        deadline = time.monotonic() + 30
        while name not in self.admin.list_topics(timeout=10).topics:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no broker tells of topic {name}")
            time.sleep(0.02)

    def set_topic(self, name: str, **settings: str) -> None:
        """Change a topic's settings; underscores stand for dots."""
        entries = [
            ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for key, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(30)

    def delete_records(self, name: str, partition: int, before: int) -> None:
        """Move the beginning of a partition, as retention does."""
        place = TopicPartition(name, partition, before)
        self.admin.delete_records([place])[place].result(30)

    def add_partitions(self, name: str, count: int) -> None:
        """Give a topic more of them, `count` in all."""
        self.admin.create_partitions([NewPartitions(name, count)])[name].result(30)

    def delete_topic(self, name: str) -> None:
        """Remove a topic."""
        self.admin.delete_topics([name])[name].result(30)

    def delete_all_topics(self) -> None:
        """Remove all but Kafka's own."""
        names = [n for n in self.admin.list_topics(timeout=30).topics if not n.startswith("__")]
        for answer in self.admin.delete_topics(names).values() if names else ():
            answer.result(30)

    def stop(self) -> None:
        """End what we started."""
        self.server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()


def real_kafka() -> RealKafka:
    """A cluster by the first way that is open.

    Raises:
        NoKafka: none is; says what is missing.
    """
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return RealKafka(_Given(servers))
    if _docker_answers():
        return RealKafka(_Container())
    return RealKafka(LocalProcess())


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = subprocess.run([docker, "info"], capture_output=True, timeout=20, check=False)
    return asked.returncode == 0


def jars() -> Path:
    """The folder of Apache Kafka's jars; Maven fetches them once.

    Raises:
        NoKafka: Java or Maven is missing, or they cannot be had.
    """
    with kept(f"kafka-{VERSION}") as libs:
        if not (libs / COMPLETE).exists():
            _fetch(libs)
            (libs / COMPLETE).touch()
    return libs


def _fetch(libs: Path) -> None:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise NoKafka(
            "no Apache Kafka: KAFKA_BOOTSTRAP_SERVERS is not set, Docker does not answer, and "
            f"{' and '.join(missing)} is not installed (Java 17 and Maven would do)"
        )
    libs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pom = Path(folder) / "pom.xml"
        pom.write_text(_POM)
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        command = ["mvn", "-q", "-B", "-f", str(pom), plugin, "-DincludeScope=runtime"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={libs}"], capture_output=True, check=False
        )
    if done.returncode != 0:
        raise NoKafka(f"Maven could not fetch Kafka's jars: {done.stdout[-2000:].decode()}")


def _server_properties(port: int, controller: int, folder: Path) -> str:
    return f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=6000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=1000
group.consumer.heartbeat.interval.ms=1000
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=1000
"""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def cluster_id() -> str:
    """A name for a new cluster."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
