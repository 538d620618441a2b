"""Topics: what is wanted against what there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workers.operate.seen import Seen, SeenTopic
from workers.operate.steps import Doer, Kind, Step, TopicSpec, fault, note, warning
from workers.operate.wanted import Setting, WantedTopic, derived, spec

_MOVES = (
    "records of one key go to another partition from then on, so a reader may see a key's newer "
    "record before an older one; and it cannot be taken back. Drain the readers first"
)
_SHRINKS = (
    "records that are older than the new retention, or that are not the newest of their key, are "
    "removed for good"
)
_RISKY = frozenset({"cleanup.policy", "retention.ms"})


def sizes(topic: str, wanted: Mapping[str, WantedTopic], seen: Seen) -> tuple[int, int] | None:
    """Partitions and copies that a topic has or will have; None where that is not known.

    A topic that is not there and that another worker of the topology writes will be as that
    worker's input, or as its settings say.
    """
    visited: set[str] = set()
    partitions: int | None = None
    copies: int | None = None
    while topic not in visited:
        visited.add(topic)
        if topic in seen.topics:
            there = seen.topics[topic]
            return partitions or there.partitions, copies or there.replication_factor
        if topic not in wanted:
            break
        partitions = partitions or wanted[topic].partitions
        copies = copies or wanted[topic].replication_factor
        topic = wanted[topic].reads
    return (partitions, copies) if partitions and copies else None


def made(topic: WantedTopic, wanted: Mapping[str, WantedTopic], seen: Seen) -> TopicSpec | None:
    """The topic as `apply` makes it; None where the input's size is needed and not known."""
    known = sizes(topic.name, wanted, seen)
    return spec(topic, *known) if known else None


def topic_steps(
    topic: WantedTopic, wanted: Mapping[str, WantedTopic], seen: Seen
) -> Iterator[Step]:
    """What is to be done about one topic that a worker writes to."""
    there = seen.topics.get(topic.name)
    if there is None:
        yield _missing(topic, made(topic, wanted, seen), seen)
        return
    yield from _partitions(topic, there, sizes(topic.reads, wanted, seen))
    yield from _copies(topic, there, seen.brokers)
    if there.settings is None:
        yield fault(
            topic.target,
            "its settings could not be read, so they were not checked",
            "run it as a principal with DescribeConfigs on the topic",
        )
        return
    for setting in derived(topic, there.replication_factor):
        current = there.settings.get(setting.name)
        if not setting.holds(current):
            yield _setting(topic, setting, current, there.settings)
    yield from _stamps(topic.target, there)


def _missing(topic: WantedTopic, new: TopicSpec | None, seen: Seen) -> Step:
    if new is None:
        return fault(
            topic.target,
            f"it is not there, and its size follows {topic.reads}, which is not there either",
            f"create {topic.reads} first, or write partitions and replication_factor in `settings`",
        )
    if new.replication_factor > seen.brokers:
        return fault(
            topic.target,
            f"{new.replication_factor} copies are wanted and there are {seen.brokers} brokers",
            "state a smaller replication_factor in `settings`, or add brokers",
        )
    return Step(
        kind=Kind.CREATE_TOPIC,
        doer=Doer.APPLY,
        target=topic.target,
        wanted=f"partitions={new.partitions}, replication factor={new.replication_factor}, "
        + ", ".join(f"{name}={value}" for name, value in new.settings.items()),
        why=f"{topic.role} of worker {topic.worker}; workers create no topic",
        topic=new,
    )


def _partitions(
    topic: WantedTopic, there: SeenTopic, source: tuple[int, int] | None
) -> Iterator[Step]:
    read = source[0] if source else 0
    stated = topic.partitions or 0
    needed = max(stated, read if topic.same else 0)
    if there.partitions < needed:
        why = "the topology says so"
        if topic.same and read == needed:
            why = f"output.partitioning is same, and {topic.reads} has {read}: the worker refuses"
        new = TopicSpec(name=topic.name, partitions=needed, replication_factor=0)
        yield Step(
            kind=Kind.ADD_PARTITIONS,
            doer=Doer.APPLY_PARTITIONS,
            target=topic.target,
            setting="partitions",
            current=str(there.partitions),
            wanted=str(needed),
            why=why,
            risk=_MOVES,
            topic=new,
        )
    elif stated and there.partitions > stated:
        yield fault(
            topic.target,
            "Kafka takes no partition away",
            f"write partitions: {there.partitions}, or move to a new topic",
            setting="partitions",
            current=str(there.partitions),
            wanted=str(stated),
        )
    elif not stated and there.partitions < read:
        yield note(
            topic.target,
            f"fewer partitions than {topic.reads}: joins by key need the same number",
            setting="partitions",
            current=str(there.partitions),
            wanted=str(read),
        )


def _copies(topic: WantedTopic, there: SeenTopic, brokers: int) -> Iterator[Step]:
    stated = topic.replication_factor
    if stated is not None and stated != there.replication_factor:
        yield fault(
            topic.target,
            "copies are moved between brokers by hand, since that fills disks and networks",
            "kafka-reassign-partitions.sh, or state the present number",
            setting="replication factor",
            current=str(there.replication_factor),
            wanted=str(stated),
        )
    elif stated is None and there.replication_factor == 1 and brokers > 1:
        yield warning(
            topic.target,
            "one copy: a lost disk loses records that were acknowledged",
            "state replication_factor: 3 in `settings` and move the copies",
            setting="replication factor",
            current="1",
        )


def _setting(
    topic: WantedTopic, setting: Setting, current: str | None, settings: Mapping[str, str]
) -> Step:
    new = TopicSpec(
        name=topic.name,
        partitions=0,
        replication_factor=0,
        settings={setting.name: setting.value},
    )
    removes = setting.name in _RISKY and _removes(setting, settings)
    return Step(
        kind=Kind.CHANGE_SETTING,
        doer=Doer.APPLY_REMOVAL if removes else Doer.APPLY,
        target=topic.target,
        setting=setting.name,
        current=current,
        wanted=setting.value,
        why=setting.why,
        risk=_SHRINKS if removes else "",
        topic=new,
    )


def _removes(setting: Setting, settings: Mapping[str, str]) -> bool:
    """May the change remove records that the topic now keeps?"""
    if setting.name == "cleanup.policy":
        return True
    forever = float("inf")
    now, then = (
        forever if value < 0 else value
        for value in (int(settings.get("retention.ms", "-1")), int(setting.value))
    )
    return then < now


def _stamps(target: str, there: SeenTopic) -> Iterator[Step]:
    if (there.settings or {}).get("message.timestamp.type") == "LogAppendTime":
        yield note(
            target,
            "the broker stamps records with its own time: the event's timestamp, which the worker "
            "passes on, is lost to readers",
            setting="message.timestamp.type",
            current="LogAppendTime",
        )
