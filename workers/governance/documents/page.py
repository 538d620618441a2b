"""A page per topic: what somebody wants to know before reading it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.contracts.catalogue import Registered
from workers.contracts.directory import version_file
from workers.contracts.subject import Role
from workers.governance.documents import promises
from workers.governance.documents.dead_letter_headers import VERDICTS, dead_letter_headers
from workers.governance.documents.fields import differences, rows
from workers.governance.documents.shape import shape_of
from workers.governance.documents.topics import Topic
from workers.topology import Worker

WRITTEN_BY = "<!-- Written by `workers contracts docs` from topology.yaml and schemas/. -->"
ROLES = {
    Role.INPUT: "input of workers",
    Role.OUTPUT: "enriched events",
    Role.DECISIONS: "decisions",
    Role.COMPARISONS: "comparisons of a challenger with the champion",
    Role.OUTCOMES: "outcomes of decided events",
    Role.DEAD_LETTER: "dead letters",
}


def page(topic: Topic, schemas: Path) -> str:
    """The topic's page in Markdown. `schemas` is the contracts' directory as seen from the page."""
    parts = [
        f"# {topic.name}",
        WRITTEN_BY,
        topic.about.description,
        _table(("", ""), _facts(topic)),
        *_origin(topic),
        *_reading(topic),
        *_dead_letters(topic),
        *_fields(topic),
        *_example(topic),
        *_changelog(topic, schemas),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(topic: Topic) -> Iterator[tuple[str, str]]:
    about = topic.about
    yield "Owner", about.owner
    yield "What it is", ROLES[about.role]
    if about.sunset:
        yield "**Ends**", f"on {about.sunset}"
    if about.replaced_by:
        yield "**Replaced by**", about.replaced_by
    yield "Key", promises.key(topic)
    yield "Ordering", about.ordering or "Nothing is promised."
    yield from _from_writers(topic)
    if topic.decision_id:
        yield (
            "Drop duplicates by",
            f"`{topic.decision_id}`: the same input record always gets the same one.",
        )
    yield "Framing", _framing(topic)
    yield "Retention", _retention(about.retention)
    if topic.versions:
        yield (
            "Compatibility",
            f"`{about.compatibility}`. {promises.compatibility(about.compatibility)}",
        )


def _from_writers(topic: Topic) -> Iterator[tuple[str, str]]:
    """What the workers that write it promise; said for each where there are several."""
    for worker in topic.writers:
        of = f" ({worker.name})" if len(topic.writers) > 1 else ""
        yield f"Delivery{of}", promises.delivery(topic, worker)
        yield f"Headers{of}", promises.headers(topic, worker)
        if topic.about.role is Role.OUTPUT:
            yield f"Partition{of}", promises.partition(worker)
            if text := promises.without_value(worker):
                yield f"Without value{of}", text
    if not topic.writers:
        yield "Delivery", "Its producer's: no worker writes this topic."


def _framing(topic: Topic) -> str:
    if topic.about.role is Role.DEAD_LETTER:
        return "The failed record's value as it came: it may be no Avro at all."
    ids = ", ".join(
        f"{version.id} is version {version.version}"
        for version in topic.versions
        if version.id is not None
    )
    return (
        "One zero byte, the schema id as four bytes big-endian, the Avro datum: what Confluent's "
        f"deserialisers read. Subject `{topic.about.subject}`{f'; id {ids}' if ids else ''}."
    )


def _retention(text: str | None) -> str:
    if text is None:
        return "Nothing is promised."
    return "The newest record of each key is kept for ever." if text == "compact" else text


def _origin(topic: Topic) -> Iterator[str]:
    lines = [
        f"- {_link(worker.input.topic)} → worker `{worker.name}`{_scored(topic, worker)} "
        "→ this topic"
        for worker in topic.writers
    ]
    lines += [
        f"- this topic → worker `{worker.name}` → {_link(worker.output.topic)}"
        for worker in topic.readers
    ]
    if lines:
        yield "## Where it comes from, where it goes"
        yield "\n".join(lines)


def _scored(topic: Topic, worker: Worker) -> str:
    if topic.about.role is Role.DEAD_LETTER:
        return ", what it could not enrich"
    return f" → model `{worker.model.name}` {str(worker.model).partition(' ')[2]}"


def _link(topic: str) -> str:
    return f"[{topic}]({topic}.md)"


def _reading(topic: Topic) -> Iterator[str]:
    if topic.newest is not None:
        yield "## Reading it"
        yield (
            "Any Kafka client with Avro reads it. For Python, typed classes and a function that "
            f"reads a record: `workers contracts codegen {topic.about.subject}`; "
            "[a sample consumer](../../examples/subscriber/consume.py) shows their use."
        )


def _dead_letters(topic: Topic) -> Iterator[str]:
    if topic.about.role is not Role.DEAD_LETTER:
        return
    yield "## Why records are here"
    yield "The header `__workers.verdict` says why, `__workers.code` says it exactly."
    yield _table(
        ("verdict", "what happened", "who can mend it"),
        ((f"`{verdict.value}`", *text) for verdict, text in VERDICTS.items()),
    )
    yield "## Headers"
    yield (
        "The failed record's own headers come first. These follow, as UTF-8 text; where a name is "
        "there twice the last one counts. A record too large for this topic comes without its "
        "value, and the last five rows say what is left out."
    )
    yield _table(
        ("header", "meaning"),
        ((f"`{name}`", meaning) for name, meaning in dead_letter_headers().items()),
    )


def _fields(topic: Topic) -> Iterator[str]:
    newest, shape = topic.newest, topic.shape
    if newest is None or shape is None:
        return
    yield "## Fields"
    yield f"`{shape.name}`, version {newest.version}. {shape.doc}".strip()
    yield _table(
        ("field", "type", "may be null", "default", "meaning"),
        (
            (
                f"`{row.path}`",
                row.kind,
                "yes" if row.optional else "",
                f"`{row.default}`" if row.default else "",
                row.doc,
            )
            for row in rows(shape)
        ),
    )


def _example(topic: Topic) -> Iterator[str]:
    if topic.example is not None:
        yield "## A record"
        yield 'In Avro\'s JSON encoding, which names the branch of a union: `{"string": …}`.'
        yield f"```json\n{json.dumps(topic.example, indent=2, ensure_ascii=False)}\n```"


def _changelog(topic: Topic, schemas: Path) -> Iterator[str]:
    if not topic.versions:
        return
    yield "## Versions"
    earlier = (None, *topic.versions)
    told = [
        _version(topic, was, now, schemas)
        for was, now in zip(earlier, topic.versions, strict=False)
    ]
    yield _table(("version", "released", "change", "fields", "records until"), reversed(told))


def _version(
    topic: Topic, was: Registered | None, now: Registered, schemas: Path
) -> tuple[str, ...]:
    entry = topic.about.versions[now.version]
    changed = differences(shape_of(was.schema), shape_of(now.schema)) if was else ()
    file = version_file(schemas / now.subject, now.version).as_posix()
    return (
        f"[{now.version}]({file})",
        str(entry.released or "not yet"),
        entry.change or "",
        ", ".join(changed),
        str(entry.sunset or ""),
    )


def _table(head: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *body]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
