"""Fixtures of the tests of Delta tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.feedback.deltas import delta_loop
from tests.feedback.lakes import log_of
from workers.feedback.lake.commits import Log
from workers.topology import Feedback


@pytest.fixture
def loop(tmp_path: Path) -> Feedback:
    """A loop whose lake is mirrored."""
    return delta_loop(tmp_path)


@pytest.fixture
def log(loop: Feedback) -> Log:
    """Its commits."""
    return log_of(loop)
