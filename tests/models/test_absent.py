"""What a worker does not need is not loaded, whatever is installed beside it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import runpy, sys
sys.argv = ["workers", *sys.argv[1:]]
try:
    runpy.run_module("workers", run_name="__main__")
except SystemExit:
    pass
import workers.wiring
print(sorted({"dask", "matplotlib", "pandas", "sklearn"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"]])
def test_a_worker_loads_no_library_that_it_has_no_use_for(arguments: list[str]) -> None:
    """LightGBM and pyarrow would, where it is installed, as scikit-learn is here."""
    import sklearn

    assert sklearn
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )

    assert said.stdout.splitlines()[-1] == "[]"


def test_training_may_load_them() -> None:
    """Some of its ways need them."""
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, "feedback", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "sklearn" in said.stdout.splitlines()[-1]
