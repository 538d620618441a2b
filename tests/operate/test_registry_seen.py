"""The plan's look at a registry, over HTTP."""

from __future__ import annotations

from tests.contracts.stub_registry import Entry, StubRegistry
from workers.contracts.directory import read_directory
from workers.contracts.sources import registry_source
from workers.operate.steps import Kind
from workers.operate.subjects import RegistrySeen, subject_steps, subjects_of
from workers.topology import Topology
from workers.topology.contracts import RegistryPlace
from workers.wiring import pick


def test_what_the_registry_lacks_is_registered_by_a_person(topology: Topology) -> None:
    """A version that is not there, and one that stands under another id, are found."""
    assert topology.contracts.directory is not None
    files = read_directory(topology.contracts.directory)
    with StubRegistry() as stub:
        source = registry_source(RegistryPlace.model_validate({"url": stub.url}))
        for subject, given in (("flights-value", 1), ("flights.enriched-value", 9)):
            text = files.catalogue.versions(subject)[1].schema.text
            stub.add(subject, 1, Entry(given, text))

        subjects = subjects_of(pick(topology, None))
        steps = list(subject_steps("worker w", subjects, files, RegistrySeen(source)))
        source.close()

    found = {(step.kind, step.target) for step in steps if step.kind is not Kind.SET_COMPATIBILITY}
    assert found == {
        (Kind.FAULT, "subject flights.enriched-value"),
        (Kind.REGISTER_VERSION, "subject flights.enriched-value"),
        (Kind.REGISTER_VERSION, "subject flights.decisions-value"),
    }
