"""What docs/security.md tells to write can be written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from workers.topology.security import Security

PAGE = (ROOT / "docs" / "security.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_example_is_good(tmp_path: Path, block: str) -> None:
    """As `broker.security` of a topology, its files being there."""
    text = block
    for name in re.findall(r"/(?:etc|run)/[\w./-]+", block):
        file = tmp_path / Path(name).name
        file.write_text("secret")
        text = text.replace(name, str(file))

    security = Security.model_validate(YAML(typ="safe").load(text))

    assert security.client_properties()["security.protocol"] in ("SSL", "SASL_SSL")


def test_there_is_an_example_of_each_way() -> None:
    """A password, a certificate, a token for a secret and one for a signature."""
    words = ("SCRAM-SHA-512", "certificate:", "client_secret_file:", "assertion:")

    assert [word for word in words if not any(word in block for block in BLOCKS)] == []
