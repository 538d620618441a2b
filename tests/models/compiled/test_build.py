"""A bundle is compiled at load, proven, and served; or LightGBM goes on and the reason is known."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.contracts.schema import Schema
from workers.errors import ModelError
from workers.models.bundle import Bundle
from workers.models.compiled import build
from workers.models.model import Model


@pytest.fixture(scope="module")
def schema(contracts: Catalogue) -> Schema:
    """The contract that the demo's model is built for."""
    return contracts.versions("flights-value")[1].schema


def test_a_bundle_is_compiled_in_a_child_and_serves_the_same_decisions(
    bundle: Bundle, schema: Schema, flights: list[bytes]
) -> None:
    """The whole way: scores to the bit, and decisions; what was loaded before is left as it was."""
    model = Model(bundle)

    faster = build.compiled(model, bundle, schema)

    table = Decoder(schema).decode(flights).table
    wanted, found = model.score(table), faster.score(table)
    assert (model.compiled, faster.compiled) == (False, True)
    assert wanted.scores.tobytes() == found.scores.tobytes()
    assert wanted.bands.tolist() == found.bands.tolist()


def test_a_model_that_is_not_covered_goes_on_with_lightgbm(bundle: Bundle, schema: Schema) -> None:
    """Whoever asks is told why, and still has the model."""
    model = Model(bundle)
    other = replace(bundle, booster=bundle.booster.replace("binary sigmoid:1", "poisson", 1))

    with pytest.raises(ModelError, match="not compiled: objective=poisson"):
        build.compiled(model, other, schema)
    assert not model.compiled


def test_golden_rows_hold_what_was_compiled_to_what_serves(bundle: Bundle, schema: Schema) -> None:
    """Code of another booster than the one that is loaded is not served, however well proven."""
    other = replace(bundle, booster=bundle.booster.replace("sigmoid:1", "sigmoid:2"))

    with pytest.raises(ModelError, match="golden rows score otherwise"):
        build.compiled(Model(bundle), other, schema)


def test_a_child_that_takes_too_long_is_ended(
    bundle: Bundle, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that hangs holds up nobody for ever."""
    monkeypatch.setattr(build, "SECONDS", 0.01)

    with pytest.raises(ModelError, match="not compiled: it took over"):
        build.compiled(Model(bundle), bundle, schema)


def test_a_child_that_crashes_is_a_reason(
    bundle: Bundle, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What LLVM or the machine code may do, it does not do to the worker."""
    monkeypatch.setattr(build, "COMMAND", ("-c", "import os; os.abort()"))

    with pytest.raises(ModelError, match="the child process ended with -6"):
        build.compiled(Model(bundle), bundle, schema)


def test_without_the_extra_the_reason_names_it(
    bundle: Bundle, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llvmlite is optional."""
    monkeypatch.setitem(sys.modules, "llvmlite", None)

    with pytest.raises(ModelError, match="the extra `compiled` brings it"):
        build.compiled(Model(bundle), bundle, schema)
