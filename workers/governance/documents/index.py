"""All topics at one look: a table, and a picture of topics and workers."""

from __future__ import annotations

from collections.abc import Iterable

from workers.governance.documents.page import ROLES, WRITTEN_BY
from workers.governance.documents.topics import Topic
from workers.topology import Topology, Worker


def index(topology: Topology, topics: Iterable[Topic]) -> str:
    """README.md of the pages."""
    listed = [
        f"| [{topic.name}]({topic.name}.md) | {ROLES[topic.about.role]} | "
        f"{topic.newest.version if topic.newest else 'no schema'} | {topic.about.retention or ''} "
        f"| {topic.about.owner} | {topic.about.description} |"
        for topic in topics
    ]
    parts = [
        "# Topics",
        WRITTEN_BY,
        "\n".join(
            [
                "| topic | what it is | version | retention | owner | what it holds |",
                "|---|---|---|---|---|---|",
                *listed,
            ]
        ),
        _picture(topology),
        "For tools: [AsyncAPI](../asyncapi.yaml), and an ODCS contract a topic in "
        "[contracts](../contracts). For Python: `workers contracts codegen SUBJECT`, and the "
        "[sample consumer](../../examples/subscriber/consume.py).",
    ]
    return "\n\n".join(parts) + "\n"


def _picture(topology: Topology) -> str:
    names: dict[str, str] = {}
    lines = ["```mermaid", "flowchart LR"]
    for number, worker in enumerate(topology.workers.values()):
        me = f"w{number}"
        lines.append(f'  {me}["{worker.name}<br/>{worker.model.name} {worker.model.version}"]')
        lines.append(f"  {_topic(names, worker.input.topic)} --> {me}")
        lines += [f"  {me} -->{label} {_topic(names, t)}" for label, t in _outputs(worker)]
    return "\n".join([*lines, "```"])


def _topic(names: dict[str, str], topic: str) -> str:
    return f'{names.setdefault(topic, f"t{len(names)}")}(["{topic}"])'


def _outputs(worker: Worker) -> list[tuple[str, str]]:
    decisions = [("|decisions|", worker.decisions.topic)] if worker.decisions else []
    shadow = [("|comparisons|", worker.shadow.topic)] if worker.shadow else []
    later = [("|tried again|", worker.retry_topic.topic)] if worker.retry_topic else []
    dead_letters = ("|what could not be enriched|", worker.dead_letter.topic)
    return [("|enriched|", worker.output.topic), *decisions, *shadow, *later, dead_letters]
