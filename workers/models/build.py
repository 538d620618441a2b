"""Write a bundle from a trained booster: from Python, in a training script.

`draft` gives a model that can score before there is a bundle: for the reference distribution, and
to pick golden rows. `build` writes the bundle whole, after every check that a worker makes.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

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
    Training,
    describe_file,
    read_bundle,
)
from workers.models.checks import check_bundle, check_features
from workers.models.model import Model
from workers.models.reference import Reference
from workers.models.text import read_text
from workers.models.verify import verify

LOADING = 60
"""Seconds a child process may take to load a booster."""


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
    licence: str = ""
    training: Training | None = None
    calibration: Calibration | None = None
    reasons: Reasons | None = None
    score_range: tuple[float, float] = (0.0, 1.0)
    metrics: dict[str, float] = field(default_factory=dict)
    reference: Reference | None = None


def draft(recipe: Recipe, booster: str) -> Model:
    """The model that a recipe and a booster's text make, after the checks that need no golden row.

    Raises:
        ModelError: a feature fits neither contract nor booster, or the text cannot be loaded.
    """
    text = read_text(booster)
    check_features(recipe.features, recipe.schema, text)
    _prove_loads(booster)
    with tempfile.TemporaryDirectory() as made:
        folder = _staged(Path(made), recipe, booster)
        return Model(Bundle(_manifest(folder, recipe), booster, _no_rows()))


def _no_rows() -> Golden:
    return Golden.model_construct(rows=())


def _prove_loads(booster: str) -> None:
    """Load the text in a child first: a damaged one would take this process with it."""
    command = [sys.executable, "-m", "workers.models.booster"]
    try:
        child = subprocess.run(
            command, input=booster.encode(), capture_output=True, timeout=LOADING, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"loading the booster took over {LOADING} s") from error
    if child.returncode != 0:
        tail = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise ModelError(
            f"the booster cannot be loaded: the child process that tried ended with "
            f"{child.returncode}: {tail[0]}"
        )


def build(
    root: Path,
    recipe: Recipe,
    booster: str,
    golden: Sequence[bytes],
    drafted: Model | None = None,
) -> Bundle:
    """Write `root/name/version` whole or not at all, after proving it in a child process.

    `golden` are bare datums of the contract: their scores become the bundle's golden rows.
    `drafted` is what `draft` made of the same recipe and booster, where that was asked before.

    Raises:
        ModelError: the version exists (versions are immutable), or the bundle fails its checks.
    """
    target = refuse_existing(root, recipe)
    if not golden:
        raise ModelError("no golden rows: without one nothing proves that a worker scores alike")
    model = drafted or draft(recipe, booster)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        staged = _staged(Path(made), recipe, booster)
        rows = Golden(rows=_golden_rows(model, recipe, golden))
        (staged / "golden.json").write_text(rows.model_dump_json(indent=1) + "\n")
        document = _manifest(staged, recipe).model_dump(mode="json")
        (staged / "manifest.json").write_text(json.dumps(document, indent=2) + "\n")
        bundle = read_bundle(Path(made), recipe.name, recipe.version)
        check_bundle(bundle, recipe.schema)
        verify(bundle, recipe.schema)
        shutil.move(staged, target)
    return bundle


def refuse_existing(root: Path, recipe: Recipe) -> Path:
    """The folder that a bundle goes to.

    Raises:
        ModelError: it is there already.
    """
    target = root / recipe.name / recipe.version
    if target.exists():
        raise ModelError(f"{target} exists: a version never changes; choose another")
    return target


def _staged(made: Path, recipe: Recipe, booster: str) -> Path:
    """A folder with the files of the bundle; no golden row, no manifest yet."""
    folder = made / recipe.name / recipe.version
    folder.mkdir(parents=True)
    (folder / "model.txt").write_bytes(booster.encode())
    (folder / "golden.json").write_text("{}")
    if recipe.reference is not None:
        (folder / "reference.json").write_text(recipe.reference.model_dump_json() + "\n")
    return folder


def _golden_rows(model: Model, recipe: Recipe, datums: Sequence[bytes]) -> tuple[GoldenRow, ...]:
    decoded = Decoder(recipe.schema).decode(datums)
    scored = model.score(decoded.table)
    refused = {**decoded.rejections, **scored.rejections, **scored.failed}
    if refused:
        row, why = min(refused.items())
        raise ModelError(f"golden row {row} cannot be scored: {why}")
    _check_alone(model, decoded.table)
    pairs = zip(datums, scored.scores.tolist(), scored.bands.tolist(), strict=True)
    return tuple(
        GoldenRow(
            datum=base64.b64encode(datum).decode(), score=score, decision=model.decisions[band]
        )
        for datum, score, band in pairs
    )


def _check_alone(model: Model, table: pa.RecordBatch) -> None:
    """A feature that is another when its event stands alone depends on what else is in a batch."""
    together = model.features.compute(table).matrix
    alone = np.concatenate(
        [model.features.compute(table.slice(row, 1)).matrix for row in range(table.num_rows)]
    )
    same = (together == alone) | (np.isnan(together) & np.isnan(alone))
    for feature, agrees in zip(model.features.ordered, same.all(axis=0), strict=True):
        if not agrees:
            raise ModelError(
                f"feature {feature.name}: `{feature.sql}` gives another value when its event "
                "stands alone; a feature may not depend on other events"
            )


def _manifest(folder: Path, recipe: Recipe) -> Manifest:
    try:
        return _described(folder, recipe)
    except ValidationError as error:
        # A recipe from Python was checked part by part; how the parts fit each other comes here.
        raise ModelError(
            "; ".join(f"recipe: {fault['msg']}" for fault in error.errors())
        ) from error


def _described(folder: Path, recipe: Recipe) -> Manifest:
    reference = folder / "reference.json"
    return Manifest(
        format=1,
        name=recipe.name,
        version=recipe.version,
        created=recipe.created,
        description=recipe.description,
        owner=recipe.owner,
        licence=recipe.licence,
        training=recipe.training,
        contract=recipe.contract,
        booster=describe_file(folder / "model.txt"),
        golden=describe_file(folder / "golden.json"),
        reference=describe_file(reference) if recipe.reference is not None else None,
        features=recipe.features,
        decisions=recipe.decisions,
        calibration=recipe.calibration,
        reasons=recipe.reasons,
        score_range=recipe.score_range,
        metrics=recipe.metrics,
    )
