"""Calibration: plain numbers of the bundle, applied to every score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.models.bundle import Bundle, Isotonic, Manifest, Platt
from workers.models.model import Model, calibrated


def test_platt_and_isotonic_are_what_their_formulas_say() -> None:
    """At the ends, in the middle, and for what is no number."""
    scores = np.array([0.0, 0.2, 0.5, 1.0, np.nan])
    platt = Platt(method="platt", slope=2.0, intercept=-1.0)
    logit = np.log(0.2 / 0.8)

    found = calibrated(scores, platt)

    np.testing.assert_allclose(found[:4], [0, 1 / (1 + np.exp(1 - 2 * logit)), 0.26894142, 1])
    assert np.isnan(found[4])
    lines = Isotonic(method="isotonic", scores=(0.1, 0.5, 0.9), calibrated=(0.0, 0.2, 0.8))
    np.testing.assert_allclose(calibrated(scores, lines)[:4], [0, 0.05, 0.2, 0.8])
    assert calibrated(scores, None) is scores


def test_decisions_are_made_on_calibrated_scores(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes]
) -> None:
    """Halved scores leave fewer rows in the highest band; the order stays."""
    halved = Isotonic(method="isotonic", scores=(0.0, 1.0), calibrated=(0.0, 0.5))
    moved = replace(bundle, manifest=bundle.manifest.model_copy(update={"calibration": halved}))
    table = Decoder(contracts.versions("flights-value")[1].schema).decode(flights).table

    before, after = Model(bundle).score(table), Model(moved).score(table)

    np.testing.assert_allclose(after.scores, before.scores / 2)
    assert (before.bands == 2).sum() > 100
    assert (after.bands == 2).sum() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "isotonic", "scores": [0, 1], "calibrated": [1, 0]},
        {"method": "isotonic", "scores": [0, 0], "calibrated": [0, 1]},
        {"method": "isotonic", "scores": [0, 1], "calibrated": [0]},
        {"method": "platt", "slope": -1, "intercept": 0},
        {"method": "guess"},
    ],
)
def test_what_is_no_calibration_is_refused(bundle: Bundle, wrong: dict[str, Any]) -> None:
    """It would turn the order of scores, or says nothing."""
    document = bundle.manifest.model_dump(mode="json")

    with pytest.raises(ValidationError, match="calibration"):
        Manifest.model_validate({**document, "calibration": wrong})
