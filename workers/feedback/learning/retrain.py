"""The next version of a model, from labelled decisions: the same lake and settings, the same
bytes on one machine.

In the order of events: trained on the first part, calibrated on the next, judged on the last. The
features are the champion's; categories that have come up since are added.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workers import __version__
from workers.contracts.schema import Schema
from workers.errors import ModelError
from workers.feedback.dataset import Joiner, Window
from workers.feedback.lake.commits import Commit
from workers.feedback.learning.cluster import opened
from workers.feedback.learning.local import LocalRows
from workers.feedback.learning.parts import Summary, TrainingRows, enough
from workers.feedback.learning.remote import Asked
from workers.feedback.learning.rows import category_counts, labelled, with_new_categories
from workers.feedback.learning.spread import spread
from workers.feedback.learning.training import Made, Trainer
from workers.feedback.opening import Loop, contracts_of
from workers.models.build import Recipe, build, draft
from workers.models.bundle import Bundle, Decisions, Feature
from workers.models.reference import reference_of
from workers.models.store import Store


@dataclass(frozen=True, slots=True)
class Retrained:
    """A version; `made` is False where the same training had made it before."""

    version: str
    made: bool
    rows: int
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    left_out: Mapping[str, int]


def retrain(loop: Loop, as_of: datetime.datetime, base: str | None = None) -> Retrained:
    """Train, calibrate, choose thresholds, and put the bundle into the store of models.

    `base` is the version whose features are used, by default the champion.

    Raises:
        ModelError: there are too few labelled rows, of one kind, or the bundle fails its checks.
    """
    store, settings = loop.store, loop.feedback.retrain
    base = base or store.served(loop.model.name, "champion") or loop.model.version
    if base is None:
        raise ModelError(f"model {loop.model.name} has no champion; name a version with --like")
    bundle, commit = store.bundle(loop.model.name, base), loop.log.newest()
    identity = _identity(loop, commit, bundle, as_of)
    if (known := _same(store, loop.model.name, f"training {identity}:")) is not None:
        return known
    window = Window(as_of - datetime.timedelta(seconds=settings.window), as_of, as_of)
    with opened_rows(loop, commit, tuple(bundle.manifest.features), window) as rows:
        made, said = Trainer(loop, bundle, rows).make(), rows.summary
    schema = (
        contracts_of(loop)
        .versions(bundle.manifest.contract.subject)[bundle.manifest.contract.version]
        .schema
    )
    lineage = _lineage(loop, commit, base, identity, as_of, said)
    return _stored(store, bundle, schema, made, lineage, said.left_out)


@contextmanager
def opened_rows(
    loop: Loop, commit: Commit, features: tuple[Feature, ...], window: Window
) -> Iterator[TrainingRows]:
    """The window's labelled decisions, cut into parts: here, or on the declared cluster.

    Raises:
        ModelError: there are too few, or a feature is not logged.
    """
    settings = loop.feedback.retrain
    if settings.dask is not None:
        asked = Asked(loop.feedback, commit.number, loop.model.name, window, features)
        with opened(settings.dask, settings.threads) as cluster:
            yield spread(cluster, asked, commit, settings)
        return
    joiner = Joiner(loop.log.place, commit, loop.feedback, loop.model.name)
    rows = labelled(joiner, window, features)
    cut = enough(settings, len(rows), rows.left_out)
    known = with_new_categories(features, category_counts(features, rows.features))
    yield LocalRows(rows, known, settings, cut)


def _stored(
    store: Store,
    bundle: Bundle,
    schema: Schema,
    made: Made,
    lineage: str,
    left_out: Mapping[str, int],
) -> Retrained:
    """Golden rows are the events that the base's are: the log has none."""
    manifest, version = bundle.manifest, next_version(store, bundle.manifest.name)
    recipe = Recipe(
        name=manifest.name,
        version=version,
        created=made.training.until,
        contract=manifest.contract,
        schema=schema,
        features=made.features,
        decisions=made.decisions,
        description=manifest.description,
        owner=manifest.owner,
        licence=manifest.licence,
        training=made.training.model_copy(update={"dataset": lineage}),
        calibration=made.calibration,
        reasons=_reasons(bundle, made.decisions),
        score_range=manifest.score_range,
        metrics=made.metrics,
    )
    model = draft(recipe, made.text)
    names = [feature.name for feature in made.features]
    order = [names.index(feature.name) for feature in model.features.ordered]
    reference = reference_of(model.features.ordered, made.sample[:, order], made.scores)
    golden = [base64.b64decode(row.datum) for row in bundle.golden.rows]
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), replace(recipe, reference=reference), made.text, golden, model)
        store.put(Store(Path(folder)).fetch(manifest.name, version))
    rows = made.training.rows
    return Retrained(version, True, rows, made.parameters, made.metrics, left_out)  # noqa: FBT003  named in the class


def _reasons(bundle: Bundle, decisions: Decisions) -> Any:
    """The base's, for the decisions that there still are."""
    reasons = bundle.manifest.reasons
    if reasons is None:
        return None
    kept = tuple(
        name for name in reasons.decisions if name in {band.decision for band in decisions.bands}
    )
    return reasons.model_copy(update={"decisions": kept}) if kept else None


def next_version(store: Store, name: str) -> str:
    """One more than the highest number."""
    return str(max((int(v) for v in store.versions(name) if v.isdigit()), default=0) + 1)


_ELSEWHERE: dict[str, Any] = {
    "lake": True,
    "gate": True,
    "promotion": True,
    "retrain": {"dask": {"scheduler", "port", "timeout"}},
}
"""What no row and no tree depends on."""


def _identity(loop: Loop, commit: Commit, bundle: Bundle, as_of: datetime.datetime) -> str:
    """16 digits that are the same where a training would be: rows are told by their offsets."""
    told = {
        "offsets": commit.offsets,
        "as_of": as_of.isoformat(),
        "loop": loop.feedback.model_dump(mode="json", exclude=_ELSEWHERE, round_trip=False),
        "base": bundle.manifest.booster.sha256,
        "build": __version__,
    }
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def made_at(loop: Loop, as_of: datetime.datetime) -> Retrained | None:
    """The version that this loop has made as of this instant; None where there is none."""
    said = f"as known at {as_of.isoformat()};"
    return _same(loop.store, loop.model.name, f"Feedback loop {loop.feedback.name},", said)


def _same(store: Store, name: str, *said: str) -> Retrained | None:
    """The version whose lineage says all of this."""
    for version in store.versions(name):
        manifest = store.bundle(name, version).manifest
        training = manifest.training
        if training is not None and all(text in training.dataset for text in said):
            rows = training.rows
            return Retrained(version, False, rows, {}, manifest.metrics, {})  # noqa: FBT003  named in the class
    return None


def _lineage(
    loop: Loop,
    commit: Commit,
    base: str,
    identity: str,
    as_of: datetime.datetime,
    said: Summary,
) -> str:
    offsets = {topic: sum(places.values()) for topic, places in commit.offsets.items()}
    text = (
        f"Feedback loop {loop.feedback.name}, training {identity}: labelled decisions of versions "
        f"{', '.join(said.versions)} as known at {as_of.isoformat()}; lake commit {commit.number}, "
        f"offsets {offsets}; features of version {base}; build {__version__}. "
        f"{_weighing(loop, said)}Left out: {dict(said.left_out) or 'nothing'}."
    )
    return text[:2000]


def _weighing(loop: Loop, said: Summary) -> str:
    if said.effective is None:
        return ""
    settings = loop.feedback.retrain
    return (
        f"Rows count by 1 / propensity, at most {settings.max_weight:g}: those that the trees are "
        f"made from are as good as {said.effective:,.0f} that count alike (Kish). "
    )
