"""The demo's real contracts, model and events, for every test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from tests.s3server import S3Server, s3_server
from workers.contracts.catalogue import Catalogue
from workers.contracts.directory import read_directory
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle, read_bundle
from workers.testing import EmbeddedBroker, RealKafka, RealRegistry, real_kafka, real_registry
from workers.testing.driver import LOOP
from workers.topology import Delivery, Topology, load
from workers.wiring import build_enricher, pick

ROOT = Path(__file__).parents[1]
# How long an example takes is the machine's business.
settings.register_profile("plain", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plain")
settings.register_profile(
    "long",
    max_examples=5000,
    stateful_step_count=80,
    derandomize=False,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


TOGETHER = ("tests/faults/", "tests/security/")
"""Folders whose tests share what is dear to start: three brokers, one with many listeners."""
ALONE = (
    "tests/faults/test_kill.py",
    "tests/faults/test_pills.py",
    "tests/faults/test_upgrade.py",
    "tests/faults/test_zombie.py",
)
"""Files in them that need one broker only."""
LONGEST = (
    "tests/faults/",
    "tests/promises/test_shadow.py",
    "tests/faults/test_pills.py",
    "tests/faults/test_kill.py",
    "tests/drills/test_drills.py",
    "tests/offline/test_spark.py",
    "tests/feedback/test_dask.py",
    "tests/cli/test_cli.py",
    "tests/promises/test_swap.py",
    "tests/promises/test_outages.py",
    "tests/security/",
    "tests/machine/test_offsets.py",
    "tests/faults/test_upgrade.py",
    "tests/cli/test_operate.py",
    "tests/faults/test_zombie.py",
)
"""What takes longest, longest first: begun last, it would leave the other processes idle."""
MEASURED = ("tests/cli/", "tests/models/")
"""Where coverage is measured in what tests start too: it costs each process a second and more."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, a file's tests go to one process, and those of the folders of `TOGETHER`.

    As `--dist loadgroup` would have it: pytest 9.2 does not see the groups of pytest-xdist 3.8.
    """
    # Imported here: the processes that run tests have no scheduler.
    from xdist.scheduler import LoadScopeScheduling

    assert all((ROOT / each).exists() for each in (*TOGETHER, *ALONE, *LONGEST))

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            shared = None if file in ALONE else next(filter(file.startswith, TOGETHER), None)
            return shared or file

        def _assign_work_unit(self, node: Any) -> None:
            longest = next((each for each in LONGEST if each in self.workqueue), None)
            if longest is not None:
                self.workqueue.move_to_end(longest, last=False)
            super()._assign_work_unit(node)

    return Together(config, log)


@pytest.fixture(scope="session", autouse=True)
def _java_that_starts_fast() -> Iterator[None]:
    """Servers of tests end soon: compiling for the long run costs more than it gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        yield


@pytest.fixture(scope="module", autouse=True)
def _measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage of the processes that tests start, where it is wanted."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.nodeid.startswith(MEASURED):
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What processes note of a worker is no user's, and no other test process's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """A worker that a test leaves running would be a part of every test after it."""
    before = set(threading.enumerate())
    yield
    left = [t.name for t in threading.enumerate() if t not in before and t.name.startswith(LOOP)]
    assert not left, f"still running: {left}"


@pytest.fixture(scope="session")
def contracts() -> Catalogue:
    """The repository's contracts."""
    return read_directory(ROOT / "schemas").catalogue


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The demo's model."""
    return read_bundle(ROOT / "models", "flight-delay", "1")


@pytest.fixture(scope="session")
def flights(contracts: Catalogue) -> list[bytes]:
    """4,000 real events as bare datums."""
    schema = contracts.versions("flights-value")[1].schema
    return encode(shipped_month().head(4000), schema.text)


@pytest.fixture(scope="session")
def topology() -> Topology:
    """The demo's topology."""
    return load(ROOT / "topology.yaml", {})


@pytest.fixture(scope="session")
def enricher(topology: Topology) -> Enricher:
    """The demo worker's path, its model proven."""
    return build_enricher(topology, pick(topology, None))


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedBroker]:
    """librdkafka's mock cluster."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[RealKafka]:
    """Apache Kafka. Where none can be had the tests fail: they are not skipped."""
    with real_kafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def registry() -> Iterator[RealRegistry]:
    """A schema registry that is not ours. Where none can be had the tests fail."""
    with real_registry() as found:
        yield found


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server that is not ours. Where none can be had the tests fail."""
    with s3_server() as found:
        yield found


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> EmbeddedBroker | RealKafka:
    """Both brokers, one after the other: the same promises hold on both."""
    found: EmbeddedBroker | RealKafka = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=[Delivery.EXACTLY_ONCE, Delivery.AT_LEAST_ONCE])
def delivery(request: pytest.FixtureRequest) -> Delivery:
    """Both guarantees: without a fault both deliver once."""
    found: Delivery = request.param
    return found
