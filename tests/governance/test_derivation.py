"""Derived schemas: written for every input version, stale ones found, released ones left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from workers.cli import app
from workers.contracts.comparison import comparison_contract
from workers.contracts.derive import enrichment_block, is_derived
from workers.contracts.directory import read_directory
from workers.errors import ContractError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the commands read."""
    for folder in ("schemas", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "topology.yaml", tmp_path)
    return tmp_path


def workers(checkout: Path, *arguments: str) -> tuple[int, str]:
    """The command's exit code and what it prints."""
    done = CliRunner().invoke(
        app, ["contracts", *arguments, "--topology", str(checkout / "topology.yaml")]
    )
    return done.exit_code, done.output


def draft(checkout: Path, *fields: dict[str, Any]) -> Path:
    """Input version 2: version 1 and these fields."""
    home = checkout / "schemas" / "flights-value"
    document = json.loads((home / "v1.avsc").read_text())
    document["fields"] += fields
    (home / "v2.avsc").write_text(json.dumps(document))
    subject = home / "subject.yaml"
    if "  2:" not in subject.read_text():
        with subject.open("a") as file:
            file.write("  2: {id: 2, change: The gate.}\n")
    return home / "v2.avsc"


GATE = {"name": "gate", "type": ["null", "string"], "default": None, "doc": "Where it stood."}
BELT = {"name": "belt", "type": ["null", "int"], "default": None, "doc": "Where bags arrive."}


def test_the_shipped_contracts_are_derived() -> None:
    """What CI runs."""
    assert workers(ROOT, "derive", "--check")[0] == 0


def test_a_new_input_version_gets_its_enriched_schema(checkout: Path) -> None:
    """Found stale, written with an id of its own, and then fresh; the worker accepts the result."""
    draft(checkout, GATE)

    code, text = workers(checkout, "derive", "--check")
    assert code == 1
    assert "flights.enriched-value version 2, from input version 2" in text
    assert not (checkout / "schemas" / "flights.enriched-value" / "v2.avsc").exists()
    assert workers(checkout, "derive")[0] == 0
    assert workers(checkout, "derive", "--check")[0] == 0

    found = read_directory(checkout / "schemas").catalogue
    source, output = found.versions("flights-value")[2], found.versions("flights.enriched-value")[2]
    assert is_derived(output.schema, source.schema, enrichment_block())
    assert output.id == 302
    done = CliRunner().invoke(app, ["check", "--topology", str(checkout / "topology.yaml")])
    assert done.exit_code == 0
    assert "enriched as flights.enriched-value version 2" in " ".join(done.output.split())


def test_a_subject_of_comparisons_gets_the_workers_record(checkout: Path) -> None:
    """As the worker writes it; from then on nothing is stale."""
    folder = checkout / "schemas" / "paid.comparisons-value"
    folder.mkdir()
    (folder / "subject.yaml").write_text(
        "subject: paid.comparisons-value\ntopic: paid.comparisons\nrole: comparisons\n"
        "owner: me@example.org\ndescription: A challenger's.\nversions:\n"
        "  1: {change: First version.}\n"
    )
    (folder / "v1.avsc").write_text('{"type": "record", "name": "Other", "fields": []}')

    assert workers(checkout, "derive")[0] == 0

    found = read_directory(checkout / "schemas").catalogue
    written = comparison_contract(found, "paid.comparisons-value")
    assert (written.version, written.id) == (2, 302)
    assert workers(checkout, "derive", "--check")[0] == 0
    with pytest.raises(ContractError, match="role: comparisons"):
        comparison_contract(found, "flights-value")


def test_a_draft_follows_its_input_and_a_released_version_does_not_change(checkout: Path) -> None:
    """A stale draft is written anew; once released, a changed file is an error that says why."""
    draft(checkout, GATE)
    workers(checkout, "derive")
    draft(checkout, GATE, BELT)
    assert workers(checkout, "derive", "--check")[0] == 1
    assert workers(checkout, "derive")[0] == 0
    output = checkout / "schemas" / "flights.enriched-value" / "v2.avsc"
    assert "belt" in output.read_text()

    code, text = workers(checkout, "release")
    assert code == 0, text
    assert "released: flights-value version 2" in text
    output.write_text(output.read_text().replace("bags", "suitcases"))
    code, text = workers(checkout, "derive", "--check")
    assert code == 2
    assert "is released and may not change" in text
    assert "v3.avsc" in text


def test_a_breaking_version_is_not_released(checkout: Path) -> None:
    """Its subject's mode decides; the lock stays as it was."""
    before = (checkout / "schemas" / "contracts.lock").read_text()
    draft(checkout, {"name": "gate", "type": "string", "doc": "Needed, and without a default."})

    code, text = workers(checkout, "release")

    assert code == 1
    assert "gate" in text
    assert (checkout / "schemas" / "contracts.lock").read_text() == before


def test_a_released_version_cannot_vanish(checkout: Path) -> None:
    """Records of it may still be read."""
    subject = checkout / "schemas" / "flights-value" / "subject.yaml"
    subject.write_text("\n".join(x for x in subject.read_text().splitlines() if "  1:" not in x))

    code, text = workers(checkout, "derive")

    assert code == 2
    assert "flights-value" in text
