"""Schemas and datums that killed, filled or held up a decoder once: each ends in an answer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.hostile.pills import DATUMS, MEMORY, SCHEMAS, SECONDS

ACCEPTED = {
    "a branch twice": "the registry's rules refuse it; readers take the first",
    "aliases that are none": "only a name that is one can be found by it",
    "an alias of itself": "it is the record that it names",
    "NaN for a default": "JSON of Python and Java; a value of its type",
    "a logical type that is a list": "Avro: one that is not known is left out",
}
READ = {
    "a block with a wrong size": 3,
    "a string of a megabyte": 3,
    "an empty decimal": 3,
    "a decimal of one digit": 3,
    "NaN": 3,
    "another NaN": 3,
    "a denormal": 3,
    "minus zero": 3,
    "infinity": 3,
}
Told = dict[str, tuple[str, float]]


@pytest.fixture(scope="module")
def told() -> Told:
    """What a process with little memory and time says of all of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.pills"],
        cwd=ROOT,
        capture_output=True,
        timeout=SECONDS * 2,
        check=False,
    )
    assert done.returncode == 0, f"within {MEMORY} bytes: {done.stderr.decode()[-2000:]}"
    found: Told = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_hostile_schema_is_refused_or_harmless(told: Told, name: str) -> None:
    """An error that names the file; where it is accepted, records under it are read or refused."""
    said, _ = told[f"schema: {name}"]

    assert said.startswith("read: " if name in ACCEPTED else "ContractError: pill.avsc: "), said


@pytest.mark.parametrize("name", DATUMS)
def test_a_hostile_datum_is_read_or_refused_and_no_more(told: Told, name: str) -> None:
    """A verdict that names field and byte, and in no case the memory that it asks for."""
    said, _ = told[f"datum: {name}"]

    rows = READ.get(name, 0)
    assert said.startswith(f"read: {rows}"), said
    assert rows or "field f0, byte" in said
