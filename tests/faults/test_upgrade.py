"""A rolling upgrade and its way back: two builds in one group, under load, on real Kafka.

`golden/workers-0.1.0.tar.xz` is the package as it was before dead letters parked what follows them.
A release puts its own in place of it: what must work together is a build and the one before.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.rig import PAUSE, Flow, topology_file
from workers.testing import RealKafka, isolated
from workers.testing.verifier import Verifier
from workers.topology import Delivery, Topology
from workers.wiring import pick

GOLDEN = Path(__file__).parent / "golden" / "workers-0.1.0.tar.xz"
SHARE = 200


class Member:
    """`workers run` of one build. Its bundle is proven by a child of today's: no part of this."""

    def __init__(self, build: Path, topology: Path, log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            command = [sys.executable, "-m", "workers", "run", "-t", str(topology)]
            # The package that stands where it is started is the one that it takes.
            self._process = subprocess.Popen(command, cwd=build, stdout=out, stderr=out)

    @property
    def partitions(self) -> set[int]:
        """What it reads now, by its own word."""
        found = set[int]()
        for line in self._log.read_text().splitlines():
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "partitions.assigned":
                found |= set(said["partitions"])
            elif said.get("event") in ("partitions.revoked", "partitions.lost"):
                found -= set(said["partitions"])
        return found

    def drain(self) -> None:
        """SIGTERM, to which the answer is exit code 0."""
        self._process.terminate()
        assert self._process.wait(60) == 0, self._log.read_text()[-2000:]

    def close(self) -> None:
        """Whatever it does."""
        self._process.kill()
        self._process.wait()


def until_shared(*members: Member) -> None:
    """Every one of them has partitions, and nobody has another's."""
    for _ in range(1200):
        owned = [found.partitions for found in members]
        if all(owned) and sum(map(len, owned)) == 4 and len(set.union(*owned)) == 4:
            return
        PAUSE.wait(0.05)
    raise TimeoutError(f"they own {[found.partitions for found in members]}")


@pytest.fixture
def builds(tmp_path: Path) -> dict[str, Path]:
    """Where the package is: the build before, and this one."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    found = {"old": tmp_path / "old", "new": ROOT}
    for build in found.values():
        asked = [sys.executable, "-c", "import workers; print(workers.__file__)"]
        done = subprocess.run(asked, cwd=build, capture_output=True, text=True, check=True)
        assert Path(done.stdout.strip()).is_relative_to(build)
    return found


def contracts_then(folder: Path) -> Path:
    """The contracts as the build before can read them: it has no role `outcomes` yet."""
    then = folder / "schemas"
    shutil.copytree(ROOT / "schemas", then, ignore=shutil.ignore_patterns("*outcomes*"))
    lock = json.loads((then / "contracts.lock").read_text())
    released = {name: v for name, v in lock["released"].items() if (then / name).exists()}
    (then / "contracts.lock").write_text(json.dumps({**lock, "released": released}))
    return then


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("delivery", list(Delivery))
def test_two_builds_work_in_one_group(
    kafka: RealKafka,
    topology: Topology,
    flights: list[bytes],
    tmp_path: Path,
    builds: dict[str, Path],
    delivery: Delivery,
) -> None:
    """The new one joins, the old one leaves, and comes back in its place: nothing lost or twice."""
    _, worker = isolated(topology, pick(topology, None), kafka, delivery=delivery)
    text = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=False).read_text()
    files = {name: tmp_path / f"{name}.yaml" for name in builds}
    for name, file in files.items():
        file.write_text(text.replace("batch:", f"instance: {name}\n    batch:"))
    then = files["old"].read_text().replace(str(ROOT / "schemas"), str(contracts_then(tmp_path)))
    files["old"].write_text(then)

    def start(name: str) -> Member:
        return Member(builds[name], files[name], tmp_path / f"{name}.log")

    running: list[Member] = []
    with Verifier(kafka.bootstrap_servers, worker) as verifier:
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        try:
            running = [start("old"), start("new")]
            until_shared(*running)
            assert verifier.until(verifier.seen + SHARE, 60)
            running[0].drain()
            assert verifier.until(verifier.seen + SHARE, 60)
            running[0] = start("old")
            until_shared(*running)
            running[1].drain()
            assert verifier.until(verifier.seen + SHARE, 60)
            flow.stop()
            assert verifier.until(flow.sent, 60)
            running[0].drain()
        finally:
            for each in running:
                each.close()
        assert verifier.faults(flow.expected) == []
