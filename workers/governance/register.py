"""Bring a registry to what the directory says: register versions, set modes, write ids back.

The registry is the authority on ids, and judges candidates by its own rules. Nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from workers.contracts.catalogue import Catalogue
from workers.contracts.directory import ContractDirectory
from workers.contracts.lock import is_released, write_lock
from workers.contracts.registry import Registry
from workers.contracts.sources import RegistrySource, registry_source
from workers.contracts.subject import SUBJECT_FILE, Compatibility
from workers.errors import ContractError
from workers.governance.registration import Act, Plan, Step, body, folder_of
from workers.governance.subject_files import write_id
from workers.topology import Topology


def open_registry(topology: Topology) -> RegistrySource:
    """The topology's registry; close it after use.

    Raises:
        ContractError: the topology names none.
    """
    if topology.contracts.registry is None:
        raise ContractError("contracts.registry: is needed for this")
    return registry_source(topology.contracts.registry)


def from_registry(topology: Topology) -> Catalogue:
    """Every subject that the topology's workers and loops name, as the registry has it.

    Raises:
        ContractError: the topology names no registry, or an id stands for two schemas.
        Retry: the registry does not answer.
    """
    subjects: dict[str, None] = {}
    for worker in topology.workers.values():
        subjects |= dict.fromkeys((worker.input.subject, worker.output.subject))
        if worker.decisions is not None:
            subjects[worker.decisions.subject] = None
        if worker.shadow is not None:
            subjects[worker.shadow.subject] = None
    subjects |= dict.fromkeys(loop.outcomes.subject for loop in topology.feedback.values())
    source = open_registry(topology)
    try:
        return Catalogue(entry for subject in subjects for entry in source.versions(subject))
    finally:
        source.close()


def apply(directory: ContractDirectory, source: RegistrySource, planned: Plan) -> Iterator[Step]:
    """Do the steps; each is given back when it is done, an id that came of it filled in.

    Ids are written to subject.yaml at once, and the lock file holds every version that the registry
    has. Doing it again does nothing.

    Raises:
        ContractError: the plan has findings that stand against it.
        Refused: the registry would not have a version after all; steps before it stay done.
        Retry: the registry does not answer; steps before it stay done.
    """
    if planned.refused:
        raise ContractError("nothing is registered: the plan has findings that stand against it")
    locked = {
        (entry.subject, entry.version)
        for entry in directory.catalogue
        if is_released(directory.lock, entry)
    }
    released = locked | planned.there
    if released != locked:
        _lock(directory, released)
    for step in planned.steps:
        done = _do(directory, source.registry, step)
        if done.version:
            released |= {(done.subject, done.version)}
            _lock(directory, released)
        yield done


def _do(directory: ContractDirectory, registry: Registry, step: Step) -> Step:
    if step.act is Act.SET_MODE:
        registry.set_compatibility(step.subject, _mode_of(directory, step.subject))
        return step
    given = step.id
    if given is None:
        given = registry.register(step.subject, body(directory, step.subject, step.version))
    write_id(folder_of(directory, step.subject) / SUBJECT_FILE, step.version, given)
    text = f"{step.text}: id {given}" if step.id is None else step.text
    return replace(step, text=text, id=given)


def _mode_of(directory: ContractDirectory, subject: str) -> Compatibility:
    about = directory.about(subject)
    return about.compatibility if about else Compatibility.NONE


def _lock(directory: ContractDirectory, released: set[tuple[str, int]]) -> None:
    write_lock(
        directory.root,
        (e for e in directory.catalogue if (e.subject, e.version) in released),
    )
