"""Coverage-guided fuzzing with Atheris (libFuzzer): `make fuzz`, arguments are libFuzzer's."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"

with atheris.instrument_imports(include=["workers", "tests.fuzz.one"]):
    from tests.fuzz.one import one

if __name__ == "__main__":
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    atheris.Setup([*sys.argv, *([] if folders else [str(CORPUS)])], one)
    atheris.Fuzz()
