"""Contracts that our commands registered, once for all tests, and Java programs built once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from tests.interop.place import Place, at, newer, registered
from workers.contracts.catalogue import Catalogue
from workers.models.bundle import Bundle
from workers.testing import RealKafka, RealRegistry
from workers.testing.downloads import COMPLETE, kept
from workers.topology import Topology

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


@pytest.fixture(scope="session")
def in_registry(
    registry: RealRegistry, contracts: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> Topology:
    """Both versions of the flights and what is derived, by `workers contracts register`."""
    second = newer(contracts.versions("flights-value")[1].schema)
    return registered(tmp_path_factory.mktemp("owner"), registry.url, second)


@pytest.fixture
def place(
    kafka: RealKafka, registry: RealRegistry, in_registry: Topology, bundle: Bundle
) -> Iterator[Place]:
    """Registered and resolved by us; the client is theirs."""
    with SchemaRegistryClient({"url": registry.url}) as client:
        yield at(kafka, client, in_registry, bundle)


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """How a Java program of ./java is started; its jars come from Maven once."""
    for tool in ("java", "javac", "mvn"):
        assert shutil.which(tool), f"{tool} is not installed; a JDK 17 and Maven are needed"
    here = Path(__file__).parent / "java"
    with kept("interop-avro-1.12.1-kafka-4.1.1") as jars:
        if not (jars / COMPLETE).exists():
            maven = ["mvn", "-q", "-B", "-f", str(here / "pom.xml"), _PLUGIN]
            _built([*maven, f"-DoutputDirectory={jars}", "-DincludeScope=runtime"])
            (jars / COMPLETE).touch()
    classes = tmp_path_factory.mktemp("classes")
    _built(["javac", "-cp", f"{jars}/*", "-d", str(classes), *map(str, here.glob("*.java"))])
    return ("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}/*")


def _built(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"{done.stdout}{done.stderr}"[-2000:]
    assert done.returncode == 0, f"{command[0]} could not build the Java clients: {said}"
