"""Compatibility of schemas: which readers can read which records, in a registry's seven modes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workers.contracts.catalogue import Registered
from workers.contracts.schema import Schema
from workers.contracts.subject import Compatibility
from workers.governance.compatibility.apache import by_apache
from workers.governance.compatibility.defaults import Incompatibility, own_faults
from workers.governance.compatibility.phrases import Direction, phrase
from workers.governance.compatibility.resolution import resolve
from workers.governance.compatibility.shape import shape_of
from workers.governance.findings import Finding, Severity


def incompatibilities(reader: Schema, writer: Schema) -> list[Incompatibility]:
    """Everything in the way of reading the writer's records with the reader's schema.

    Empty, or warnings alone: every record of the writer decodes. The rules are ours, by the
    specification (`resolution`); Apache `avro`'s checker is asked too, and where it alone objects
    its objection stands.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    if reader.fingerprint == writer.fingerprint:
        return []  # nothing is resolved
    wanted, written = shape_of(reader), shape_of(writer)
    found = resolve(wanted, written)
    if any(entry.severity is Severity.BREAKING for entry in found):
        return found
    return [*found, *by_apache(wanted, written)]


def compatible(reader: Schema, writer: Schema) -> bool:
    """Does every record of the writer decode?"""
    found = incompatibilities(reader, writer)
    return all(entry.severity is not Severity.BREAKING for entry in found)


def check_versions(
    mode: Compatibility, versions: Iterable[Registered], candidate: Registered
) -> list[Finding]:
    """What a candidate breaks for the versions before it, under its subject's mode.

    Transitive modes compare with every version, the others with the one of the highest number. What
    is wrong with the candidate alone (a default that is no value) is found in every mode.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    found: dict[tuple[Direction, Incompatibility], list[int]] = {}
    for fault in own_faults(shape_of(candidate.schema)):
        found[Direction.ITSELF, fault] = []
    for reader, writer in reading_pairs(mode, versions, candidate):
        backward = reader is candidate
        direction = Direction.BACKWARD if backward else Direction.FORWARD
        for fault in incompatibilities(reader.schema, writer.schema):
            if (Direction.ITSELF, fault) not in found:
                other = writer if backward else reader
                found.setdefault((direction, fault), []).append(other.version)
    return [phrase(candidate, numbers, *key) for key, numbers in found.items()]


def reading_pairs(
    mode: Compatibility, versions: Iterable[Registered], candidate: Registered
) -> Iterator[tuple[Registered, Registered]]:
    """Reader and writer of every pair that a mode asks to fit."""
    earlier = sorted(versions, key=lambda entry: entry.version)
    for other in earlier if mode.transitive else earlier[-1:]:
        if mode.backward:
            yield candidate, other
        if mode.forward:
            yield other, candidate
