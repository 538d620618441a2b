"""Three brokers behind proxies, to be killed, stopped and cut off by the role they play.

Clients come through the proxies (`bootstrap_servers`), for that is where the brokers say they are;
tests that look on from outside come directly (`inside`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from workers.testing.kafka import NoKafka, RealKafka, cluster_id, free_port, jars
from workers.testing.proxy import Network, Proxy

BROKERS = (1, 2, 3)
HEAP = "320m"
INTERNAL_PARTITIONS = 4
HEALTHY_SECONDS = 240.0
SESSION_SECONDS = 2.0
"""After so long without a heartbeat a broker loses what it leads."""


@dataclass(frozen=True, slots=True)
class _Ports:
    """Where a broker listens: for the proxy, for its peers and for us, and as a controller."""

    client: int
    inside: int
    controller: int


class Broker:
    """One broker and controller in a Java process."""

    def __init__(self, number: int, folder: Path, ports: _Ports, proxy: Proxy) -> None:
        self.number = number
        self.proxy = proxy
        self.inside = f"127.0.0.1:{ports.inside}"
        self._folder = folder / str(number)
        self._folder.mkdir()
        self._libs = jars()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @property
    def properties(self) -> Path:
        """Its server.properties."""
        return self._folder / "server.properties"

    @property
    def running(self) -> bool:
        """Is its process there, and not ended by itself?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            NoKafka: it does not run.
        """
        if self._process is None:
            raise NoKafka(f"broker {self.number} is not running")
        return self._process.pid

    def java(self, *command: str) -> subprocess.Popen[bytes]:
        """Run a class of Kafka's; its output goes to the broker's log."""
        options = [f"-Xmx{HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options.append("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                ["java", *options, "-cp", f"{self._libs}/*", *command], stdout=log, stderr=log
            )

    def log(self) -> str:
        """The end of what it said."""
        return (self._folder / "server.log").read_text(errors="replace")[-2000:]

    def start(self) -> None:
        """Start on the same ports and storage."""
        if not self.running:
            self._process = self.java("kafka.Kafka", str(self.properties))

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process, self._stopped = None, False

    def pause(self) -> None:
        """SIGSTOP: it is there and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        self._stopped = True

    def resume(self) -> None:
        """SIGCONT."""
        if self._stopped:
            os.kill(self.pid, signal.SIGCONT)
            self._stopped = False


class Cluster(RealKafka):
    """Three of them: replication factor 3, two in-sync replicas are enough.

    Raises:
        NoKafka: Java or Maven is missing, or it was not well in time.
    """

    def __init__(self, seed: int = 0) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        self.network = Network(seed)
        self.brokers = {number: self._broker(number) for number in BROKERS}
        self._configure()
        self.bootstrap_servers = _joined(f"127.0.0.1:{b.proxy.port}" for b in self._all())
        self.inside = _joined(broker.inside for broker in self._all())
        self.admin = AdminClient({"bootstrap.servers": self.inside, "log_level": 0})
        self.server = self
        try:
            self._format()
            self.heal()
        except BaseException:
            self.stop()
            raise

    def _all(self) -> Iterator[Broker]:
        return iter(self.brokers.values())

    def _broker(self, number: int) -> Broker:
        ports = _Ports(free_port(), free_port(), free_port())
        broker = Broker(number, self._folder, ports, self.network.proxy(ports.client))
        own = f"""
node.id={number}
listeners=CLIENT://127.0.0.1:{ports.client},INSIDE://127.0.0.1:{ports.inside},CONTROLLER://127.0.0.1:{ports.controller}
advertised.listeners=CLIENT://127.0.0.1:{broker.proxy.port},INSIDE://127.0.0.1:{ports.inside}
log.dirs={broker.properties.parent}/data
voter={number}@127.0.0.1:{ports.controller}
"""
        broker.properties.write_text(own)
        return broker

    def _configure(self) -> None:
        """Every broker must know all controllers, and so all ports be chosen."""
        texts = {broker: broker.properties.read_text() for broker in self._all()}
        voters = _joined(text.split("voter=")[1].strip() for text in texts.values())
        for broker, text in texts.items():
            own = text.split("voter=")[0]
            broker.properties.write_text(f"{own}controller.quorum.voters={voters}\n{_COMMON}")

    def _format(self) -> None:
        name = cluster_id()
        formatting = [
            (b, b.java("kafka.tools.StorageTool", "format", "-t", name, "-c", str(b.properties)))
            for b in self._all()
        ]
        for broker, process in formatting:
            if process.wait() != 0:
                raise NoKafka(f"formatting the broker's storage failed: {broker.log()}")

    def leader(self, topic: str, partition: int) -> Broker:
        """Who leads a partition now."""
        return self.brokers[
            self.admin.list_topics(topic, timeout=20).topics[topic].partitions[partition].leader
        ]

    def group_coordinator(self, group: str) -> Broker:
        """Who keeps a group's members and offsets now (GroupMetadataManager.partitionFor)."""
        return self.leader("__consumer_offsets", _spread(group))

    def transaction_coordinator(self, transactional_id: str) -> Broker:
        """Who keeps a producer's transactions now (TransactionStateManager.partitionFor)."""
        return self.leader("__transaction_state", _spread(transactional_id))

    def heal(self) -> None:
        """Good weather, all brokers running, every replica in sync.

        Raises:
            NoKafka: not within `HEALTHY_SECONDS`.
        """
        self.network.clear()
        for broker in self._all():
            broker.resume()
            broker.start()
        self.until(self.healthy)

    def healthy(self) -> bool:
        """Are all brokers there, and every replica of every partition in sync?"""
        found = self.admin.list_topics(timeout=2)
        replicas = [
            set(partition.isrs) == set(BROKERS) and partition.leader in BROKERS
            for topic in found.topics.values()
            for partition in topic.partitions.values()
        ]
        return len(found.brokers) == len(BROKERS) and all(replicas)

    def until(self, fine: Callable[[], bool]) -> None:
        """Ask until it is so; a cluster that does not answer is not.

        Raises:
            NoKafka: not within `HEALTHY_SECONDS`, or a broker ended by itself.
        """
        deadline = time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < deadline:
            try:
                if fine():
                    return
            except KafkaException:
                continue
            time.sleep(0.1)
        logs = "\n".join(f"broker {b.number}: {b.running=} {b.log()}" for b in self._all())
        raise NoKafka(f"the cluster was not well within {HEALTHY_SECONDS:g} s\n{logs}")

    def stop(self) -> None:
        """End the brokers and the proxies, and remove the storage."""
        for broker in self._all():
            broker.kill()
        self.network.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self


def _joined(parts: Iterator[str]) -> str:
    return ",".join(parts)


def _spread(name: str) -> int:
    """Which partition of an internal topic a name belongs to: Java's String.hashCode."""
    number = 0
    for character in name:
        number = (31 * number + ord(character)) & 0xFFFFFFFF
    return (number & 0x7FFFFFFF) % INTERNAL_PARTITIONS


_COMMON = f"""
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=INSIDE
listener.security.protocol.map=CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT,INSIDE:PLAINTEXT
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions={INTERNAL_PARTITIONS}
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions={INTERNAL_PARTITIONS}
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
broker.session.timeout.ms={int(SESSION_SECONDS * 1000)}
broker.heartbeat.interval.ms=500
controller.quorum.fetch.timeout.ms=1500
replica.lag.time.max.ms=3000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=4000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
log.retention.check.interval.ms=1000
log.segment.bytes=16777216
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"""
