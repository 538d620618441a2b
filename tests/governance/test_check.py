"""The working directory's contracts against another state of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.governance.schemas import field, record, versions, write_subject
from workers.contracts.catalogue import Catalogue
from workers.contracts.directory import read_directory
from workers.contracts.lock import write_lock
from workers.errors import ContractError
from workers.governance.check import check_against, check_own
from workers.governance.findings import Finding, Severity
from workers.governance.sources import Known, known_contracts
from workers.topology import Topology

FIRST = record(field("x", "int"))
GOOD = record(field("x", "int"), field("y", "int", default=1))
BAD = record(field("x", "int"), field("z", "int"))


def git(place: Path, *arguments: str) -> None:
    """Run git as somebody."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    program = shutil.which("git") or "git"
    subprocess.run([program, "-C", str(place), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose branch `main` has version 1 of a subject, released."""
    root = tmp_path / "repository"
    write_subject(root / "schemas", "paid", FIRST, role="output")
    write_lock(root / "schemas", read_directory(root / "schemas").catalogue)
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message=first")
    return root


def against_git(root: Path, topology: Topology, ref: str = "main") -> list[Finding]:
    """Findings of the repository's working directory against a ref."""
    schemas = root / "schemas"
    return check_against(read_directory(schemas), known_contracts(f"git:{ref}", topology, schemas))


def told(findings: list[Finding]) -> set[tuple[str, str, int | None]]:
    """Severity, rule and version."""
    return {(finding.severity.value, finding.rule, finding.version) for finding in findings}


def test_nothing_changed_is_nothing_found(repository: Path, topology: Topology) -> None:
    """Against itself."""
    assert against_git(repository, topology) == []


def test_a_new_version_is_held_to_those_of_the_ref(repository: Path, topology: Topology) -> None:
    """The mode of an output is FULL_TRANSITIVE."""
    schemas = repository / "schemas"
    write_subject(schemas, "paid", FIRST, GOOD, role="output")
    assert against_git(repository, topology) == []

    write_subject(schemas, "paid", FIRST, BAD, role="output")
    [finding] = against_git(repository, topology)

    assert (finding.rule, finding.where, finding.version) == ("field-added-without-default", "z", 2)
    assert finding.file == schemas / "paid-value" / "v2.avsc"


def test_a_released_version_may_not_change_even_with_its_lock(
    repository: Path, topology: Topology
) -> None:
    """The lock alone could be written anew; the ref remembers."""
    schemas = repository / "schemas"
    (schemas / "contracts.lock").unlink()
    write_subject(schemas, "paid", GOOD, role="output")
    write_lock(schemas, read_directory(schemas).catalogue)

    assert told(against_git(repository, topology)) == {("breaking", "released-version-changed", 1)}


def test_a_draft_may_change_and_is_compared_as_new(repository: Path, topology: Topology) -> None:
    """It is not in the lock there."""
    schemas = repository / "schemas"
    write_subject(schemas, "paid", FIRST, GOOD, role="output")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=draft")
    write_subject(schemas, "paid", FIRST, BAD, role="output")

    assert told(against_git(repository, topology)) == {
        ("note", "draft-changed", 2),
        ("breaking", "field-added-without-default", 2),
    }


def test_what_vanished_is_breaking(repository: Path, topology: Topology) -> None:
    """A version and a whole subject."""
    schemas = repository / "schemas"
    write_subject(schemas, "paid", FIRST, GOOD, role="output")
    write_lock(schemas, read_directory(schemas).catalogue)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=second")
    (schemas / "contracts.lock").unlink()
    write_subject(schemas, "paid", FIRST, role="output")
    assert told(against_git(repository, topology)) == {("breaking", "version-vanished", 2)}

    shutil.rmtree(schemas / "paid-value")
    assert told(against_git(repository, topology)) == {
        ("breaking", "subject-vanished", 1),
        ("breaking", "subject-vanished", 2),
    }


def test_a_weaker_promise_is_told(repository: Path, topology: Topology) -> None:
    """Else a breaking change could switch its own check off."""
    schemas = repository / "schemas"
    write_subject(schemas, "paid", FIRST, BAD, role="output", compatibility="NONE")

    assert told(against_git(repository, topology)) == {("warning", "mode-weakened", None)}


def test_a_commit_a_tag_and_a_branch_are_refs(repository: Path, topology: Topology) -> None:
    """Nothing is checked out."""
    git(repository, "tag", "v1")
    (repository / "schemas" / "contracts.lock").unlink()

    for ref in ("v1", "main", "HEAD"):
        assert against_git(repository, topology, ref) == []
    assert not (repository / "schemas" / "contracts.lock").exists()


@pytest.mark.parametrize("ref", ["nope", "--output=x", "", "main:schemas"])
def test_an_unknown_ref_is_an_error(ref: str, repository: Path, topology: Topology) -> None:
    """Nor can it be an option of git's."""
    with pytest.raises(ContractError, match=r"--against git: .*no '"):
        against_git(repository, topology, ref)


def test_a_place_that_was_not_there_is_an_error(repository: Path, topology: Topology) -> None:
    """The error names the ref and the path."""
    (repository / "schemas").rename(repository / "contracts")

    with pytest.raises(ContractError, match="main has no contracts"):
        known_contracts("git:main", topology, repository / "contracts")


def test_outside_a_repository_is_an_error(tmp_path: Path, topology: Topology) -> None:
    """And no traceback."""
    with pytest.raises(ContractError, match="not in a git repository"):
        known_contracts("git:main", topology, tmp_path)


def test_contracts_that_were_wrong_at_the_ref_are_an_error_that_names_it(
    repository: Path, topology: Topology
) -> None:
    """Not the temporary directory they were read in."""
    file = repository / "schemas" / "paid-value" / "v1.avsc"
    good = file.read_text()
    file.write_text("{")
    git(repository, "commit", "--quiet", "--all", "--message=broken")
    file.write_text(good)

    with pytest.raises(ContractError, match=r"git:main: main:schemas/paid-value/v1\.avsc: not a"):
        against_git(repository, topology)


def test_another_directory_is_a_place_too(tmp_path: Path, topology: Topology) -> None:
    """As a checkout of another branch beside this one."""
    write_subject(tmp_path / "old", "paid", FIRST)
    write_subject(tmp_path / "new", "paid", FIRST, BAD)
    known = known_contracts(str(tmp_path / "old"), topology, tmp_path / "new")

    found = check_against(read_directory(tmp_path / "new"), known)

    assert told(found) == {("breaking", "field-added-without-default", 2)}
    with pytest.raises(ContractError, match="no such directory"):
        known_contracts(str(tmp_path / "nowhere"), topology, tmp_path)


def test_in_a_registry_every_version_is_released(tmp_path: Path, topology: Topology) -> None:
    """It has no drafts; a topology without one is an error."""
    write_subject(tmp_path, "paid", GOOD)
    known = Known("the registry", Catalogue(versions(FIRST)))

    assert told(check_against(read_directory(tmp_path), known)) == {
        ("breaking", "released-version-changed", 1)
    }
    with pytest.raises(ContractError, match=r"contracts\.registry: is needed"):
        known_contracts("registry", topology, tmp_path)


def test_without_another_place_versions_are_held_to_those_before(tmp_path: Path) -> None:
    """In every subject; the finding has its file."""
    write_subject(tmp_path, "good", FIRST, GOOD)
    write_subject(tmp_path, "paid", FIRST, GOOD, BAD)

    found = check_own(read_directory(tmp_path))

    assert [(finding.subject, finding.version) for finding in found] == [("paid-value", 3)]
    assert found[0].against == "versions 1 and 2"
    assert found[0].severity is Severity.BREAKING
    assert json.loads(found[0].file.read_text() if found[0].file else "null") == BAD
