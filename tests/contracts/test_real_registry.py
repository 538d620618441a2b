"""The client and the resolver on a registry that is not ours: Apicurio, or the one that is named.

Apicurio has no contexts and no GUIDs under this API; those are tested on the stub alone.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.stub_registry import record
from tests.contracts.test_resolver import EAGER, QUICK, Listener
from workers.contracts.answers import Refused
from workers.contracts.cache import DiskCache, cache_folder
from workers.contracts.notes import ContractEvent
from workers.contracts.registry import Registry
from workers.contracts.resolver import Resolver
from workers.contracts.sources import RegistrySource
from workers.contracts.subject import Compatibility
from workers.testing import LocalRegistry, RealRegistry
from workers.topology.contracts import RegistryPlace

pytestmark = pytest.mark.kafka


@pytest.fixture
def client(registry: RealRegistry) -> Iterator[Registry]:
    made = Registry(RegistryPlace.model_validate({"url": registry.url, "timeout": "20s"}))
    yield made
    made.close()


@pytest.fixture
def name() -> str:
    """A name that nobody used before."""
    return f"T{uuid.uuid4().hex[:12]}"


def body(text: str, *references: dict[str, Any]) -> dict[str, Any]:
    return {"schema": text, "schemaType": "AVRO", "references": list(references)}


def optional(name: str, *fields: str) -> str:
    """A record whose fields after the first have defaults."""
    listed: list[dict[str, Any]] = [{"name": "tail", "type": "string"}]
    listed += [{"name": f, "type": ["null", "string"], "default": None} for f in fields]
    return json.dumps({"type": "record", "name": name, "fields": listed})


def test_a_schema_is_registered_once_and_found_by_its_id(client: Registry, name: str) -> None:
    """Registering again gives the same id; one content under two subjects has one id."""
    first, second = f"{name}-value", f"{name}.copy-value"
    given = client.register(first, body(record(name, "tail")))

    assert client.register(first, body(record(name, "tail"))) == given
    assert client.register(second, body(record(name, "tail"))) == given
    assert client.versions(first) == (1,)
    source = RegistrySource(client)
    found = source.lookup(given)
    assert sorted((entry.subject, entry.version) for entry in found) == [(first, 1), (second, 1)]
    assert source.versions(first)[0].schema.fingerprint == found[0].schema.fingerprint


def test_what_is_not_there_is_denied(client: Registry, name: str) -> None:
    """In the registry's own words, which the client must know."""
    source = RegistrySource(client)

    assert source.lookup(2_000_000_000) == []
    assert source.lookup(uuid.uuid4().bytes) == []
    assert source.versions(f"{name}-value") == []
    assert client.version(f"{name}-value", 1) is None
    assert client.find(f"{name}-value", body(record(name, "tail"))) is None
    assert client.compatibility(f"{name}-value") is None
    assert client.judge(f"{name}-value", body(record(name, "tail"))) is None


def test_a_schema_is_found_by_its_content(client: Registry, name: str) -> None:
    """As `register` asks what is there already."""
    subject = f"{name}-value"
    given = client.register(subject, body(record(name, "tail")))

    found = client.find(subject, body(record(name, "tail")))

    assert found is not None
    assert (found.version, found.id) == (1, given)
    assert client.find(subject, body(record(name, "other"))) is None


@pytest.mark.parametrize("mode", list(Compatibility))
def test_every_mode_is_set_and_read(client: Registry, name: str, mode: Compatibility) -> None:
    """All seven."""
    client.register(f"{name}-value", body(record(name, "tail")))

    client.set_compatibility(f"{name}-value", mode)

    assert client.compatibility(f"{name}-value") is mode


def test_an_incompatible_version_is_refused_with_reasons(client: Registry, name: str) -> None:
    """The same by the dry judgement and by registering."""
    subject = f"{name}-value"
    client.register(subject, body(optional(name, "origin")))
    client.set_compatibility(subject, Compatibility.FULL_TRANSITIVE)
    breaking = body(record(name, "tail", "needed"))

    said = client.judge(subject, breaking)

    assert said is not None
    assert not said.compatible
    assert any("needed" in reason or "/fields" in reason for reason in said.reasons)
    with pytest.raises(Refused, match=f"{subject}.*refused"):
        client.register(subject, breaking)
    fine = client.judge(subject, body(optional(name, "origin", "more")))
    assert fine is not None
    assert fine.compatible
    assert client.versions(subject) == (1,)


def test_what_is_no_schema_is_refused(client: Registry, name: str) -> None:
    """Not unwell: trying again would not help."""
    with pytest.raises(Refused):
        client.register(f"{name}-value", body("{nothing"))


def test_references_are_registered_and_put_in(client: Registry, name: str) -> None:
    """The worker sees one document."""
    place = {"type": "record", "name": f"{name}Place", "fields": [{"name": "x", "type": "int"}]}
    client.register(f"{name}.place-value", body(json.dumps(place)))
    text = {
        "type": "record",
        "name": name,
        "fields": [{"name": "at", "type": f"{name}Place"}],
    }
    to_place = {"name": f"{name}Place", "subject": f"{name}.place-value", "version": 1}
    given = client.register(f"{name}-value", body(json.dumps(text), to_place))

    source = RegistrySource(client)

    for found in (*source.lookup(given), *source.versions(f"{name}-value")):
        assert found.schema.root.children[0][1].children[0][0] == "x"


def test_a_resolver_follows_a_real_registry(
    registry: RealRegistry, client: Registry, name: str
) -> None:
    """A new input version and its derived output reach a running worker."""
    subjects = [f"{name}-value", f"{name}.enriched-value"]
    for subject in subjects:
        client.register(subject, body(optional(f"{name}{len(subject)}")))
    listener = Listener()
    place = RegistryPlace.model_validate({"url": registry.url, "timeout": "20s"})
    resolver = Resolver(RegistrySource(Registry(place)), subjects, pace=QUICK, note=listener)
    resolver.start()
    try:
        client.register(subjects[1], body(optional(f"{name}{len(subjects[1])}", "new")))
        given = client.register(subjects[0], body(optional(f"{name}{len(subjects[0])}", "new")))
        assert not resolver.settled(given)
        resolver.ask([given, 2_000_000_000])
        listener.wait(ContractEvent.FOUND)
        listener.wait(ContractEvent.DENIED)

        assert str(resolver.catalogue.find(given)) == f"{subjects[0]} version 2"
        assert list(resolver.catalogue.versions(subjects[1])) == [1, 2]
        assert resolver.settled(2_000_000_000)
    finally:
        resolver.close()


def test_a_worker_outlives_its_registry(name: str, tmp_path: Path) -> None:
    """Killed, then started again and empty: what is kept on disk and in memory goes on."""
    subject = f"{name}-value"
    listener = Listener()
    with LocalRegistry() as own:
        place = RegistryPlace.model_validate({"url": own.url, "timeout": "20s"})
        client = Registry(place)
        given = client.register(subject, body(record(name, "tail")))
        cache = DiskCache(cache_folder(tmp_path, own.url, ""))

        def follow() -> Resolver:
            source = RegistrySource(Registry(place))
            return Resolver(source, [subject], pace=EAGER, cache=cache, note=listener)

        running = follow()
        running.start()
        own.kill()
        listener.wait(ContractEvent.UNWELL)
        restarted = follow()
        restarted.start()
        assert [r.settled(given) for r in (running, restarted)] == [True, True]

        own.start()
        listener.wait(ContractEvent.RECOVERED, times=2)
        listener.wait(ContractEvent.MISSING, times=2)
        assert [r.settled(given) for r in (running, restarted)] == [True, True]
        for each in (running, restarted, client):
            each.close()
