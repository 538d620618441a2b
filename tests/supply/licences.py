"""Licences of what a worker runs with, from installed metadata: `python -m tests.supply.licences`.

Prints docs/licences.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = "enrichment-workers"
EXTRAS = frozenset({"compiled", "contracts", "encryption"})
"""What an image may have. `demo`, `spark` and `testing` are for other places."""
ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause",
        "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Zlib",
    }
)  # fmt: skip
"""Permissive ones. Every other one needs a person's decision, and a line here."""
_WORDS = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
}
_FIRST_LINES = {"MIT License": "MIT", "Apache License": "Apache-2.0"}


@dataclass(frozen=True, slots=True)
class Part:
    """A distribution; `stated` by its metadata, a classifier or the first line of its licence."""

    name: str
    version: str
    licence: str
    stated: str

    @property
    def allowed(self) -> bool:
        """Is each licence that must be kept allowed, or one of those that may be chosen?"""
        return all(
            any(choice.strip(" ()") in ALLOWED for choice in re.split(r"\bOR\b", needed))
            for needed in re.split(r"\bAND\b", self.licence)
        )


def parts() -> list[Part]:
    """Everything that an installation with all of `EXTRAS` brings, ours not among it.

    Raises:
        PackageNotFoundError: something is not installed.
    """
    found: dict[str, Distribution] = {}
    waiting = [(ROOT, EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        here = distribution(name)
        key = re.sub(r"[-_.]+", "-", here.metadata["Name"]).lower()
        if key not in found:
            found[key] = here
            waiting += _needed(here, extras)
    del found[ROOT]
    return [_part(name, found[name]) for name in sorted(found)]


def _needed(here: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for line in here.requires or ():
        needed = Requirement(line)
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": each}) for each in extras | {""}):
            yield needed.name, frozenset(needed.extras)


def _part(name: str, here: Distribution) -> Part:
    metadata = here.metadata
    # By name a missing one is None or an error, by whoever read the metadata first.
    if found := metadata.get_all("License-Expression"):
        return Part(name, here.version, found[0], "metadata")
    words = [
        _WORDS.get(line.rpartition(" :: ")[2], line)
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License :: OSI Approved :: ")
    ]
    if words:
        return Part(name, here.version, " AND ".join(words), "classifier")
    if (short := metadata.get_all("License")) and "\n" not in short[0]:
        return Part(name, here.version, short[0], "metadata")
    return Part(name, here.version, *_file(here))


def _file(here: Distribution) -> tuple[str, str]:
    for file in here.files or ():
        if file.name.upper().startswith("LICEN"):
            first = Path(str(file.locate())).read_text().lstrip().partition("\n")[0].strip()
            return _FIRST_LINES.get(first, first), "licence file"
    return "unknown", "nothing"


def page() -> str:
    """docs/licences.md."""
    lines = [
        "# Licences",
        "",
        "Written by `make licences`: what a worker runs with, with the extras "
        f"{', '.join(f'`{extra}`' for extra in sorted(EXTRAS))}, and under which licence. "
        "`tests/supply/test_supply.py::test_every_licence_is_allowed` fails where one is not in "
        "the list of the allowed. Wheels of numpy and scipy bring OpenBLAS (BSD-3-Clause) and "
        "libgfortran (GPL-3.0 with the GCC runtime exception); that of confluent-kafka brings "
        "librdkafka (BSD-2-Clause), OpenSSL and others that librdkafka's LICENSES.txt names; the "
        "SBOMs inside of the wheels of pyruhvro and polars list the Rust crates that are in them.",
        "",
        "| package | version | licence | stated by |",
        "|---|---|---|---|",
    ]
    rows = (f"| {p.name} | {p.version} | {p.licence} | {p.stated} |" for p in parts())
    return "\n".join([*lines, *rows]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
