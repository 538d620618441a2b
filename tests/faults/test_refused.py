"""Topics that cannot be written, or are not what they were: nothing skipped, the reason said."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from tests.faults.rig import PARTITIONS, PAUSE, Scene
from tests.traffic import good
from workers.testing import Reader, Sent, produce
from workers.testing.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

AnyScene = Callable[..., Scene]
CROWDED = 2 * PARTITIONS


def test_an_output_topic_that_goes_missing_stops_what_needs_it(
    cluster: Cluster, scene: AnyScene
) -> None:
    """Deleted under the worker: it says which; made again, it goes on alone, nothing lost."""
    with scene() as live:
        driver = live.start()
        live.progress()
        live.flow.stop()
        live.until(lambda: committed_all(live))
        topic = live.worker.output.topic
        cluster.delete_topic(topic)
        live.more(300)
        live.until(lambda: topic in "".join(driver.loop.stopped_partitions.values()))
        assert not committed_all(live)
        cluster.create_topic(topic, PARTITIONS)
        live.until(lambda: committed_all(live))
        live.stop(0)
        with Reader(cluster.inside, topic) as reader:
            reader.until(lambda seen: len(seen) >= 300)
            reader.read(0.5)
        # What the old topic held went with it; what waited is there, once.
        first = live.flow.sent - 300
        places = sorted(int(record.header("place")) for record in reader.records)
        assert places == list(range(first, first + 300))


def committed_all(live: Scene) -> bool:
    """Is the group at the end of its input?"""
    return not live.verifier.uncommitted()


def test_a_full_disk_of_the_brokers_is_an_outage(cluster: Cluster, scene: AnyScene) -> None:
    """No room in any log: brokers go down, the worker waits; with room again it goes on alone.

    By a limit on the size of files, which needs no mount and fails writes as ENOSPC does.
    """
    with scene() as live:
        driver = live.start()
        live.progress()
        victims = list(cluster.brokers.values())[:2]
        for broker in victims:
            resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        live.until(lambda: not all(broker.running for broker in victims))
        PAUSE.wait(2)
        assert not driver.ended
        for broker in victims:
            broker.kill()
        cluster.heal()
        live.progress()
        live.conclude()


def test_records_that_are_gone_stop_their_partition_until_a_person_says_where_to_go_on(
    cluster: Cluster, scene: AnyScene
) -> None:
    """Retention overtook the group while it was away: counted, not skipped; the others go on."""
    with scene() as live:
        live.start()
        live.progress()
        live.stop(0)
        behind = live.verifier.seen
        live.until(lambda: live.flow.sent > behind + 300)
        low = live.overtake(partition=0, records=20)
        driver = live.start()
        live.until(lambda: 0 in driver.loop.stopped_partitions)
        assert "20 records are gone" in driver.loop.stopped_partitions[0]
        live.progress()
        live.stop(0)
        live.set_offset(0, low)
        live.start()
        found = live.conclude_with_loss()
        assert [fault.partition(":")[0] for fault in found] == ["20 records lost"]


def test_a_topic_made_anew_under_a_worker_is_not_taken_for_the_old_one(
    cluster: Cluster, scene: AnyScene, flights: list[bytes]
) -> None:
    """Its positions mean nothing there: the partitions stop and say so."""
    with scene() as live:
        driver = live.start()
        live.progress()
        live.flow.stop()
        live.until(lambda: committed_all(live))
        topic = live.worker.input.topic
        cluster.delete_topic(topic)
        cluster.until(lambda: topic not in cluster.admin.list_topics(timeout=5).topics)
        cluster.create_topic(topic, PARTITIONS)
        cluster.until(cluster.healthy)
        live.more(30)
        live.until(lambda: len(driver.loop.stopped_partitions) == PARTITIONS, 40)
        assert "made anew" in driver.loop.stopped_partitions[0]


def test_partitions_added_under_load_are_read_from_their_beginning(
    cluster: Cluster, scene: AnyScene
) -> None:
    """From the first record on, whatever `first_start` says of records that were there before."""
    with scene(consumer={"topic.metadata.refresh.interval.ms": 1000}) as live:
        driver = live.start()
        live.progress()
        live.flow.stop()
        cluster.add_partitions(live.worker.input.topic, CROWDED)
        cluster.until(cluster.healthy)
        live.more(300, partitions=CROWDED)
        live.until(lambda: len(driver.loop.partitions) == CROWDED)
        # A key's partition changes with their number: order holds among records sent since.
        live.conclude()


def test_records_too_large_for_the_broker_are_dead_letters(
    cluster: Cluster, scene: AnyScene, flights: list[bytes]
) -> None:
    """The topic's limit was lowered under the worker: what fits passes, the rest is named."""
    with scene(producer={"batch.size": 10_000}) as live:
        cluster.set_topic(live.worker.output.topic, max_message_bytes="20000")
        live.start()
        live.progress()
        live.flow.stop()
        place = live.flow.sent
        large = Sent(good(flights[:1])[0].value, b"large", [("place", b"%d" % place)])
        large.headers.append(("ballast", b"x" * 30_000))
        produce(cluster.inside, live.worker.input.topic, [large])
        live.flow.sent += 1
        live.flow.pills.append(place)
        live.conclude()
