"""`workers contracts register` on a real registry."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.stub_registry import record
from tests.contracts.test_real_registry import optional
from tests.operate.loops import feedback_loop
from workers.cli import app
from workers.contracts.directory import ContractDirectory, read_directory
from workers.contracts.registry import Registry
from workers.contracts.subject import Compatibility
from workers.governance.register import from_registry
from workers.governance.subject_files import write_id
from workers.testing import RealRegistry
from workers.topology import load
from workers.topology.contracts import RegistryPlace

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
ABOUT = """# Whose it is.
subject: {name}-value
topic: {name}
role: input
owner: a@example.org  # an address
description: "A test."
versions:
  1: {{change: First.}}
"""


class Owner:
    """A schema owner with a directory, a topology and a registry."""

    def __init__(self, folder: Path, url: str) -> None:
        self.name = f"T{uuid.uuid4().hex[:12]}"
        self.schemas = folder / "schemas"
        self.folder = self.schemas / self.name
        self.folder.mkdir(parents=True)
        (self.folder / "subject.yaml").write_text(ABOUT.format(name=self.name))
        self.version(1, optional(self.name))
        shutil.copytree(ROOT / "models", folder / "models")
        place = f"  directory: schemas\n  registry: {{url: '{url}', timeout: 20s}}"
        text = (ROOT / "topology.yaml").read_text()
        self.topology = folder / "topology.yaml"
        self.topology.write_text(text.replace("  directory: schemas", place))
        self.registry = Registry(RegistryPlace.model_validate({"url": url, "timeout": "20s"}))

    @property
    def subject(self) -> str:
        return f"{self.name}-value"

    def version(self, number: int, text: str) -> None:
        (self.folder / f"v{number}.avsc").write_text(text)

    def entry(self, text: str) -> None:
        with (self.folder / "subject.yaml").open("a") as opened:
            opened.write(f"  {text}\n")

    def register(self, *arguments: str) -> int:
        command = ["contracts", "register", "--topology", str(self.topology), *arguments]
        return int(app(command, standalone_mode=False))

    def read(self) -> ContractDirectory:
        return read_directory(self.schemas)


@pytest.fixture
def owner(tmp_path: Path, registry: RealRegistry) -> Iterator[Owner]:
    made = Owner(tmp_path, registry.url)
    yield made
    made.registry.close()


def test_a_dry_run_shows_and_changes_nothing(
    owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what happens without --yes."""
    before = {file: file.read_bytes() for file in owner.schemas.rglob("*") if file.is_file()}

    assert owner.register() == 0

    said = capsys.readouterr().out
    assert f"{owner.subject}: would register version 1" in said
    assert f"{owner.subject}: would set compatibility to BACKWARD_TRANSITIVE" in said
    assert "nothing was changed" in said
    assert owner.registry.versions(owner.subject) == ()
    assert before == {f: f.read_bytes() for f in owner.schemas.rglob("*") if f.is_file()}


def test_registering_writes_ids_and_lock_and_is_done_once(
    owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments and order of subject.yaml stay."""
    owner.version(2, optional(owner.name, "origin"))
    owner.entry("2: {change: Origin.}")

    assert owner.register("--yes") == 0

    directory = owner.read()
    ids = [entry.id for entry in directory.catalogue.versions(owner.subject).values()]
    assert ids == [
        stored.id
        for number in (1, 2)
        if (stored := owner.registry.version(owner.subject, number)) is not None
    ]
    assert list(directory.lock[owner.subject]) == ["1", "2"]
    assert owner.registry.compatibility(owner.subject) is Compatibility.BACKWARD_TRANSITIVE
    about = (owner.folder / "subject.yaml").read_text()
    expected = ABOUT.format(name=owner.name).replace("{change", f"{{id: {ids[0]}, change")
    assert about.startswith(expected)

    capsys.readouterr()
    assert owner.register("--yes") == 0
    assert "has everything" in capsys.readouterr().out
    assert (owner.folder / "subject.yaml").read_text() == about


def test_what_the_registry_refuses_is_shown_before_anything_is_done(
    owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; with --yes too nothing is registered."""
    owner.register("--yes")
    owner.version(2, record(owner.name, "tail", "needed"))
    owner.entry("2: {change: Needs more.}")
    capsys.readouterr()

    assert owner.register() == 1
    assert owner.register("--yes") == 1

    said = capsys.readouterr().out
    assert "BREAKING version 2 · registry-refuses" in said
    assert "nothing is registered" in said
    assert "would" not in said
    assert owner.registry.versions(owner.subject) == (1,)


def test_a_version_that_differs_from_the_registrys_is_an_error(
    owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    body = {"schema": record(owner.name, "other")}
    owner.registry.register(owner.subject, body)

    assert owner.register("--yes") == 2

    assert "another schema under this number" in capsys.readouterr().out


def test_numbers_are_those_that_the_registry_would_give(
    owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gap, or another order, would be numbered otherwise there."""
    owner.version(3, optional(owner.name, "origin"))
    owner.entry("3: {change: Origin.}")

    assert owner.register() == 2

    said = capsys.readouterr().out
    assert "the registry would call it version 2" in said
    assert "v2.avsc" in said


def test_the_registry_is_the_authority_on_ids(
    owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id that was written by hand is replaced, with a warning."""
    write_id(owner.folder / "subject.yaml", 1, 4_000_000_000)

    assert owner.register("--yes") == 0

    assert "warning" in capsys.readouterr().out
    stored = owner.registry.version(owner.subject, 1)
    assert stored is not None
    assert owner.read().catalogue.versions(owner.subject)[1].id == stored.id != 4_000_000_000


def test_what_is_referred_to_is_registered_first(owner: Owner) -> None:
    """Whatever the folders are called."""
    place = owner.schemas / f"z{owner.name}"
    place.mkdir()
    (place / "subject.yaml").write_text(ABOUT.format(name=f"z{owner.name}"))
    (place / "v1.avsc").write_text(record(f"z{owner.name}", "x"))
    field = {"name": "at", "type": f"z{owner.name}"}
    owner.version(1, json.dumps({"type": "record", "name": owner.name, "fields": [field]}))
    reference = f"{{name: z{owner.name}, subject: z{owner.name}-value, version: 1}}"
    about = owner.folder / "subject.yaml"
    about.write_text(about.read_text().replace("First.", f"First., references: [{reference}]"))

    assert owner.register("--yes") == 0
    assert owner.register() == 0

    stored = owner.registry.version(owner.subject, 1)
    assert stored is not None
    assert stored.references is not None
    assert [entry.subject for entry in stored.references] == [f"z{owner.name}-value"]


def test_a_registry_that_does_not_answer_is_an_error(
    owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, with the registry's address."""
    text = owner.topology.read_text()
    owner.topology.write_text(
        text.replace(owner.registry.base, "http://127.0.0.1:1").replace("20s", "2s")
    )

    assert owner.register() == 2

    assert "the registry at http://127.0.0.1:1 does not answer" in capsys.readouterr().err


def test_the_workers_subjects_are_read_from_the_registry(
    owner: Owner, registry: RealRegistry
) -> None:
    """For `check --against registry`; the demo's own contracts."""
    shutil.rmtree(owner.schemas)
    shutil.copytree(ROOT / "schemas", owner.schemas)
    assert owner.register("--yes") == 0

    demo = load(owner.topology)
    looped = demo.model_copy(update={"feedback": {"flights": feedback_loop()}})

    # The demo has no challenger beside its champion and no feedback loop.
    assert from_registry(demo).subjects == tuple(
        name
        for name in read_directory(ROOT / "schemas").catalogue.subjects
        if name not in ("flights.comparisons-value", "flights.outcomes-value")
    )
    assert "flights.outcomes-value" in from_registry(looped).subjects
