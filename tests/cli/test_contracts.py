"""`workers contracts` as schema owners and CI meet it: output, formats, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from typer.testing import CliRunner, Result

from tests.cli.test_cli import workers
from tests.conftest import ROOT
from tests.governance.test_check import git
from workers.cli import app

SUBJECT = "flights-value"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the demo's contracts as `main`, and the working directory there."""
    for folder in ("schemas", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "topology.yaml", tmp_path)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=first")
    shutil.copytree(tmp_path / "schemas", tmp_path / "before")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, ["contracts", *arguments])


def second_version(checkout: Path, **change: Any) -> Path:
    """Version 2 of the flights with one more field."""
    folder = checkout / "schemas" / SUBJECT
    document = json.loads((folder / "v1.avsc").read_text())
    document["fields"].append({"name": "gate", "type": "string", "doc": "Of departure.", **change})
    (folder / "v2.avsc").write_text(json.dumps(document, indent=2))
    with (folder / "subject.yaml").open("a") as file:
        file.write("  2: {id: 2, change: The gate.}\n")
    return folder / "v2.avsc"


def optional() -> dict[str, Any]:
    """As a field should be added."""
    return {"type": ["null", "string"], "default": None}


@pytest.mark.parametrize("against", ["git:main", "git:HEAD", "before", None])
def test_check_is_ok_where_a_field_with_a_default_is_added(
    against: str | None, checkout: Path
) -> None:
    """Exit code 0."""
    second_version(checkout, **optional())

    done = run("check", *(["--against", against] if against else []))

    assert (done.exit_code, done.stdout) == (0, "nothing found\n")


@pytest.mark.parametrize("against", ["git:main", "before", None])
def test_check_is_1_where_a_field_without_a_default_is_added(
    against: str | None, checkout: Path
) -> None:
    """It says what breaks, for whom, and the safe way."""
    second_version(checkout)

    done = run("check", *(["--against", against] if against else []))

    assert done.exit_code == 1
    assert "BREAKING version 2 · gate · field-added-without-default" in done.stdout
    assert "for whom: workers and new readers with version 2" in done.stdout
    assert "safe way: give it a default" in done.stdout
    assert "file: schemas/flights-value/v2.avsc:" in done.stdout


def test_check_in_every_format(checkout: Path) -> None:
    """The same finding for a program, a test report and an annotation."""
    file = second_version(checkout)
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if '"gate"' in text)

    found = json.loads(run("check", "--format", "json").stdout)
    report = run("check", "--format", "junit").stdout
    annotation = run("check", "--format", "github").stdout

    assert found["exit_code"] == 1
    assert (found["findings"][0]["where"], found["findings"][0]["line"]) == ("gate", line)
    assert [case.get("type") for case in Xml.fromstring(report).iter("failure")] == [  # noqa: S314
        "field-added-without-default"
    ]
    assert annotation.startswith(
        f"::error file=schemas/flights-value/v2.avsc,line={line},"
        "title=flights-value version 2%3A field-added-without-default::gate: "
    )


@pytest.mark.parametrize(
    ("against", "said"),
    [
        ("git:nope", "no 'nope'"),
        ("nowhere", "no such directory of contracts"),
        ("registry", "contracts.registry: is needed"),
    ],
)
def test_check_is_2_where_there_is_nothing_to_compare_with(
    against: str, said: str, checkout: Path
) -> None:
    """The error is on standard error, what is compared on standard output."""
    done = run("check", "--against", against)

    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("how", ["text", "json", "junit", "github"])
def test_contracts_that_cannot_be_read_are_2_in_every_format(how: str, checkout: Path) -> None:
    """A recursive schema is refused when it is read; the report is written all the same."""
    file = second_version(checkout, type=["null", "Flight"], default=None)

    for command in ("check", "lint"):
        done = run(command, "--format", how)

        assert done.exit_code == 2
        assert "contains itself" in done.stdout
        assert file.name in done.stdout


def test_a_changed_released_version_is_2(checkout: Path) -> None:
    """The lock finds it before anything is compared."""
    file = checkout / "schemas" / SUBJECT / "v1.avsc"
    file.write_text(file.read_text().replace("UTC.", "Local."))

    done = run("check", "--against", "git:main")

    assert done.exit_code == 2
    assert "is released and may not change" in done.stdout


def test_lint_warns_of_drafts_and_is_ok(checkout: Path) -> None:
    """Of what is not released: that cannot be written better any more."""
    second_version(checkout, **optional())

    done = run("lint", "--format", "github")

    assert done.exit_code == 0
    of_enum = [line for line in done.stdout.splitlines() if "enum-without-default" in line]
    assert len(of_enum) == 1
    assert "::warning file=schemas/flights-value/v2.avsc" in of_enum[0]


def test_lint_tells_that_the_output_wants_a_version(checkout: Path) -> None:
    """A new input version has no derived one yet."""
    second_version(checkout, **optional())

    done = run("lint", "--format", "json")

    assert done.exit_code == 0
    rules = {(f["subject"], f["rule"]) for f in json.loads(done.stdout)["findings"]}
    assert ("flights.enriched-value", "derived-missing") in rules
    assert (SUBJECT, "example-missing") in rules


def test_diff_shows_whom_a_difference_touches(checkout: Path) -> None:
    """By default the newest two; exit code 1 where the mode is broken."""
    second_version(checkout)

    done = run("diff", SUBJECT)
    listed = run("diff", SUBJECT, "1", "2", "--output", "json")

    assert (done.exit_code, listed.exit_code) == (1, 1)
    assert "new readers read old records: NO" in done.stdout
    assert json.loads(listed.stdout) == [
        {
            "where": "gate",
            "what": "added",
            "text": "string, no default",
            "backward": False,
            "forward": True,
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nope-value",), "no subject 'nope-value'"),
        ((SUBJECT,), "none before it"),
        ((SUBJECT, "1", "7"), "no version 7"),
    ],
)
def test_diff_of_what_is_not_there_is_2(
    arguments: tuple[str, ...], said: str, checkout: Path
) -> None:
    """It says what there is."""
    done = run("diff", *arguments)

    assert done.exit_code == 2
    assert said in done.stderr


def test_list_shows_every_topic_with_its_versions(checkout: Path) -> None:
    """Dead letters too, which have no schema."""
    second_version(checkout, **optional())

    listed = json.loads(run("list", "--output", "json").stdout)
    table = run("list").stdout

    entries = {entry["topic"]: entry for entry in listed}
    written = {"flights.enriched", "flights.decisions", "flights.comparisons", "flights.dlq"}
    assert set(entries) == {"flights", "flights.outcomes", *written}
    first, second = entries["flights"]["versions"]
    assert (first["version"], first["id"], first["released"]) == (1, 1, True)
    assert (second["version"], second["id"], second["released"]) == (2, 2, False)
    assert entries["flights.dlq"]["subject"] is None
    assert "2, id 2, draft" in table
    assert "FULL_TRANSITIVE" in table


def test_the_real_command_exits_as_ci_expects(checkout: Path) -> None:
    """Through the process: 0, then 1."""
    second_version(checkout)

    listed = workers("contracts", "list", cwd=checkout, PYTHONPATH=str(ROOT))
    broken = workers(
        "contracts", "check", "--against", "git:main", cwd=checkout, PYTHONPATH=str(ROOT)
    )

    assert (listed.returncode, broken.returncode) == (0, 1)
    assert "field-added-without-default" in broken.stdout
