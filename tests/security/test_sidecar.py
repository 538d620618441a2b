"""`workers sidecar check` with a real authorizer: the printed rights touch nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import workers
from tests.security.place import Place, give, needed
from workers.topology import load

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
SOURCE, ELSEWHERE = "no right to change the source", "no right on what is not its own"


def test_a_right_on_the_source_is_found(place: Place, admin: Path, tmp_path: Path) -> None:
    """With what `workers plan` prints all is proven; one right more, and it is named."""
    file = place.topology(tmp_path / "beside.yaml", "", "{}", more="mode: sidecar")
    commands = needed(load(file))
    write = next(line for line in commands if "--topic flights.enriched" in line)
    # Describe it has already, and no right is given twice.
    wrong = write.replace("--operation Describe ", "").replace("flights.enriched", "flights")

    give(place.admin, commands)
    before = check(file)
    give(place.admin, [*commands, wrong])
    after = check(file)
    give(place.admin, [])

    assert before[0] == 0
    assert before[1][SOURCE] == before[1][ELSEWHERE] == "held"
    assert before[1]["own transactional ids"] == "held"
    assert (after[0], after[1][SOURCE]) == (9, "broken")


def check(file: Path) -> tuple[int, dict[str, str]]:
    """Exit code, and findings by name."""
    done = workers("sidecar", "check", "flight-delays", "--output", "json", "--topology", str(file))
    found = json.loads(done.stdout)["proofs"]
    return done.returncode, {proof["name"]: proof["finding"] for proof in found}
