"""A bundle from a spec, a booster file and a file of events."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workers.contracts.codec import Decoder
from workers.errors import ModelError
from workers.models.booster import Matrix
from workers.models.build import Recipe, build, draft, refuse_existing
from workers.models.bundle import MAX_FILE, Bundle
from workers.models.golden import spread
from workers.models.model import Model
from workers.models.reference import reference_of
from workers.models.store import Store
from workers.models.text import text_of
from workers.offline.events import datums_of

MAX_EVENTS = 100_000
"""Events of the file that are scored: the first of it."""


@dataclass(frozen=True, slots=True)
class Built:
    """What was made: `decisions` has an entry for each band, also where no event reaches it."""

    bundle: Bundle
    events: int
    rejected: Counter[str]
    decisions: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Scored:
    """One entry, or row, for each event that has a score; `rejected` counts the others by code."""

    datums: list[bytes]
    matrix: Matrix
    scores: npt.NDArray[np.float64]
    bands: npt.NDArray[np.intp]
    rejected: Counter[str]


def read_booster(file: Path) -> str:
    """The text of a booster file.

    Raises:
        ModelError: it cannot be read, is a pickle, a JSON dump or too large; names file and remedy.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise ModelError(f"{file}: more than {MAX_FILE} bytes")
    try:
        return text_of(content)
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error


def build_from_events(
    root: Path, recipe: Recipe, booster: str, events: Path, *, golden: int = 50
) -> Built:
    """Write the bundle with golden rows and reference distribution of a file's events.

    Raises:
        ModelError: as `build`; or no event of the file can be scored.
        FileFault: the file cannot be read as events of the contract.
    """
    refuse_existing(root, recipe)
    model = draft(recipe, booster)
    scored = _score(model, recipe, events)
    reference = reference_of(model.features.ordered, scored.matrix, scored.scores)
    rows = spread(scored.scores, scored.bands, golden)
    datums = [scored.datums[row] for row in rows]
    made = build(root, replace(recipe, reference=reference), booster, datums, model)
    counts = np.bincount(scored.bands, minlength=len(model.decisions)).tolist()
    decisions = Counter[str]()
    for decision, count in zip(model.decisions, counts, strict=True):
        decisions[decision] += count
    total = len(scored.datums) + scored.rejected.total()
    return Built(made, total, scored.rejected, dict(decisions))


def build_into(
    store: Store, recipe: Recipe, booster: str, events: Path, *, golden: int = 50
) -> Built:
    """As `build_from_events`, into a store of any kind.

    Raises:
        ModelError: as `build`; or no event of the file can be scored.
        FileFault: the file cannot be read as events of the contract.
    """
    store.hold_free(recipe.name, recipe.version)
    with tempfile.TemporaryDirectory() as made:
        built = build_from_events(Path(made), recipe, booster, events, golden=golden)
        store.put(Store(Path(made)).fetch(recipe.name, recipe.version))
    return built


def _score(model: Model, recipe: Recipe, events: Path) -> _Scored:
    rejected = Counter[str]()
    parts = [_part(model, recipe, datums, rejected) for datums in _batches(events, recipe)]
    datums = [datum for part in parts for datum in part.datums]
    if not datums:
        why = ", ".join(f"{code} {count}" for code, count in rejected.items()) or "it has none"
        raise ModelError(f"{events}: no event can be scored: {why}")
    return _Scored(
        datums,
        np.concatenate([part.matrix for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.bands for part in parts]),
        rejected,
    )


def _batches(events: Path, recipe: Recipe) -> Iterator[list[bytes]]:
    left = MAX_EVENTS
    for datums in datums_of(events, recipe.schema):
        yield list(islice(datums, left))
        left -= len(datums)
        if left <= 0:
            return


def _part(model: Model, recipe: Recipe, datums: list[bytes], rejected: Counter[str]) -> _Scored:
    decoded = Decoder(recipe.schema).decode(datums)
    scored = model.score(decoded.table)
    rejected.update(f"{r.verdict}: {r.code}" for r in decoded.rejections.values())
    rejected.update(f"{r.verdict}: {r}" for r in scored.rejections.values())
    rejected.update(f"model: {why}" for why in scored.failed.values())
    good = np.flatnonzero(~np.isnan(scored.scores))
    matrix = scored.matrix
    if matrix is None:  # only a bypass has none
        raise ModelError("the model was not asked")
    kept = [datums[decoded.rows[row]] for row in good.tolist()]
    return _Scored(kept, matrix[good], scored.scores[good], scored.bands[good], rejected)
