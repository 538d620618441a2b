"""Write a bundle from a trained booster."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from workers.contracts.codec import Decoder
from workers.contracts.schema import Schema
from workers.errors import ModelError
from workers.models.bundle import (
    Bundle,
    Calibration,
    ContractRef,
    Decisions,
    Feature,
    Golden,
    GoldenRow,
    Manifest,
    Reasons,
    describe_file,
    read_bundle,
)
from workers.models.model import Model
from workers.models.verify import verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a bundle holds beside the booster."""

    name: str
    version: str
    created: datetime
    contract: ContractRef
    schema: Schema
    features: tuple[Feature, ...]
    decisions: Decisions
    description: str = ""
    owner: str = ""
    calibration: Calibration | None = None
    reasons: Reasons | None = None
    metrics: dict[str, float] = field(default_factory=dict)


def build(root: Path, recipe: Recipe, booster: str, golden: Sequence[bytes]) -> Bundle:
    """Write `root/name/version` whole or not at all, after proving it in a child process.

    `golden` are bare datums of the contract: their scores become the bundle's golden rows.

    Raises:
        ModelError: the version exists (versions are immutable), or the bundle fails its checks.
    """
    target = root / recipe.name / recipe.version
    if target.exists():
        raise ModelError(f"{target} exists: a version never changes; choose another")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        staged = Path(made) / recipe.name / recipe.version
        staged.mkdir(parents=True)
        (staged / "model.txt").write_text(booster)
        _write_golden(staged, recipe, booster, golden)
        bundle = read_bundle(Path(made), recipe.name, recipe.version)
        verify(bundle, recipe.schema)
        shutil.move(staged, target)
    return bundle


def _write_golden(folder: Path, recipe: Recipe, booster: str, datums: Sequence[bytes]) -> None:
    golden = folder / "golden.json"
    golden.write_text("{}")
    draft = Bundle(_manifest(folder, recipe), booster, Golden.model_construct(rows=()))
    model = Model(draft)
    scored = model.score(Decoder(recipe.schema).decode(datums).table)
    pairs = zip(datums, scored.scores.tolist(), scored.bands.tolist(), strict=True)
    rows = tuple(
        GoldenRow(
            datum=base64.b64encode(datum).decode(), score=score, decision=model.decisions[band]
        )
        for datum, score, band in pairs
    )
    golden.write_text(Golden(rows=rows).model_dump_json(indent=1) + "\n")
    document = _manifest(folder, recipe).model_dump(mode="json")
    (folder / "manifest.json").write_text(json.dumps(document, indent=2) + "\n")


def _manifest(folder: Path, recipe: Recipe) -> Manifest:
    return Manifest(
        format=1,
        name=recipe.name,
        version=recipe.version,
        created=recipe.created,
        description=recipe.description,
        owner=recipe.owner,
        contract=recipe.contract,
        booster=describe_file(folder / "model.txt"),
        golden=describe_file(folder / "golden.json"),
        features=recipe.features,
        decisions=recipe.decisions,
        calibration=recipe.calibration,
        reasons=recipe.reasons,
        metrics=recipe.metrics,
    )
