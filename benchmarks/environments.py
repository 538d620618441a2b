"""The peers' own environments: made once under build/, with exact versions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.rig import ROOT, Subject

BUILD = ROOT / "build" / "benchmarks"
SCORING = ("lightgbm==4.7.0", "fastavro==1.13.1", "numpy==2.4.6")
QUIX = ("quixstreams==3.28.1",)
FASTSTREAM = ("faststream[confluent]==0.7.8",)
SLOW = 30_000
FAST = 600_000
PLACES = ("{servers}", "{input}", "{output}", "{group}")


def python_of(name: str, *packages: str) -> str:
    """The interpreter of an environment with these packages and what scoring needs."""
    folder = BUILD / name
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "-q", "--clear", str(folder)], check=True)
        command = [uv, "pip", "install", "-q", "--python", str(python), *packages, *SCORING]
        subprocess.run(command, check=True)
        (folder / ".complete").touch()
    return str(python)


def _classpath() -> str | None:
    if any(shutil.which(tool) is None for tool in ("java", "javac", "mvn")):
        return None
    jars, classes = BUILD / "jars", BUILD / "classes"
    here = Path(__file__).parent / "subjects" / "streams"
    if not (jars / ".complete").exists():
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        command = ["mvn", "-q", "-B", "-f", str(here / "pom.xml"), plugin]
        subprocess.run(
            [*command, f"-DoutputDirectory={jars}", "-DincludeScope=runtime"], check=True
        )
        (jars / ".complete").touch()
    source = str(here / "Enrich.java")
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", str(classes), source], check=True)
    return f"{classes}:{jars}/*"


def worker(delivery: str) -> Subject:
    """`workers run`, as an operator starts it."""
    command = (sys.executable, "-m", "workers", "run", "bench", "--topology", "{topology}")
    return Subject("this worker", delivery, command, FAST)


def echo(delivery: str) -> Subject:
    """The same guarantee without any work."""
    command = (sys.executable, "-m", "benchmarks.subjects.echo", *PLACES, delivery)
    return Subject("echo", delivery, command, FAST)


def peers() -> list[Subject]:
    """All others that can run here."""
    loop = (sys.executable, "-m", "benchmarks.subjects.per_record", *PLACES)
    here = Path(__file__).parent / "subjects"
    quix = (python_of("quix", *QUIX), str(here / "quix.py"), *PLACES)
    fast = (python_of("faststream", *FASTSTREAM), str(here / "fast_stream.py"), *PLACES)
    once = "at_least_once"
    found = [
        Subject("per-record loop", once, loop, SLOW),
        Subject("Quix Streams 3.28.1", once, quix, SLOW),
        Subject("FastStream 0.7.8, batch", once, (*fast, "batch"), SLOW),
        Subject("FastStream 0.7.8, single", once, (*fast, "single"), SLOW // 10),
    ]
    classpath = _classpath()
    if classpath is None:
        print("Kafka Streams is left out: java, javac or mvn is missing", file=sys.stderr)
        return found
    java = ("java", "-cp", classpath, "Enrich", *PLACES)
    for guarantee, name in (("at_least_once", once), ("exactly_once_v2", "exactly_once")):
        command = (*java, guarantee, str(ROOT))
        found.append(Subject("Kafka Streams 4.1.1, lightgbm4j", name, command, FAST))
    return found
