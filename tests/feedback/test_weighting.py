"""Outcomes that depend on what was decided count by 1 / propensity, in training and in measures."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sklearn

from examples.flights.events import shipped_month
from tests.feedback.history import departed, october, opened
from tests.feedback.lakes import seeded
from workers.contracts.catalogue import Catalogue
from workers.feedback.dataset import DatasetState, Joiner, Window
from workers.feedback.gate import gate
from workers.feedback.learning.retrain import retrain
from workers.feedback.learning.rows import labelled
from workers.feedback.opening import Loop
from workers.feedback.page import render
from workers.feedback.quality import measures
from workers.feedback.quality.costs import mean_cost, thresholds
from workers.feedback.quality.measures import Measure, Values
from workers.feedback.quality.weights import WEIGHT, effective, weight_of
from workers.feedback.report import report
from workers.models.fitting import fit_platt
from workers.models.model import Model
from workers.topology import Cost
from workers.topology.feedback import Weighting

AS_OF = datetime.datetime(2013, 10, 20, tzinfo=datetime.UTC)
COUNT = 12_000
SHARE = 0.2
FROM = 0.2
"""The score from which the policy of these tests calls a departure late."""


@pytest.fixture(scope="module")
def rebooked(tmp_path_factory: pytest.TempPathFactory, contracts: Catalogue) -> Path:
    """October where chance takes a fifth of the decisions, and nobody flies late who is called so:

    a departure that was called late is rebooked, so its label is 0 whatever the flight did.
    """
    called = pl.DataFrame()

    def decided(decisions: pl.DataFrame) -> pl.DataFrame:
        nonlocal called
        rng = np.random.default_rng(3)
        drawn = rng.random(decisions.height)
        greedy = np.where(decisions["score"].to_numpy() >= FROM, "late", "on_time")
        taken = np.where(drawn < SHARE / 2, "late", np.where(drawn < SHARE, "on_time", greedy))
        propensity = SHARE / 2 + (1 - SHARE) * (taken == greedy)
        found = decisions.with_columns(decision=taken, propensity=propensity)
        called = found.select("decision_id", "decision")
        return found

    def became(outcomes: pl.DataFrame) -> pl.DataFrame:
        names = pl.format("flight-delays:flights:0:{}", "record_offset")
        rebooked = pl.col("decision") == "late"
        return (
            outcomes.with_columns(decision_id=names)
            .join(called, on="decision_id", how="left", maintain_order="left")
            .with_columns(arrival_delay=pl.when(rebooked).then(0).otherwise("arrival_delay"))
            .drop("decision")
        )

    return october(
        tmp_path_factory.mktemp("rebooked"), contracts, COUNT, change=decided, became=became
    )


def weighing(loop: Loop, weighting: Weighting, **more: Any) -> Loop:
    """The loop with another weighting."""
    settings = loop.feedback.retrain.model_copy(update={"weighting": weighting, **more})
    return replace(loop, feedback=loop.feedback.model_copy(update={"retrain": settings}))


def window() -> Window:
    """All of it."""
    return Window(AS_OF - datetime.timedelta(days=60), AS_OF, AS_OF)


def as_if_chance_decided() -> float:
    """The share of labels that are 1 where each of the two decisions is taken half of the time."""
    events = shipped_month().head(COUNT)
    known = departed(events) < AS_OF - datetime.timedelta(hours=6)
    return float((events.filter(known)["arrival_delay"] > 15).mean() or 0.0) / 2  # type: ignore[arg-type]  # a mean of booleans is a number


def test_what_happens_is_told_right_where_rows_are_weighed(rebooked: Path) -> None:
    """The policy's decisions hide what they prevent; weighed they do not, and errors say so."""
    loop, truth = opened(rebooked), as_if_chance_decided()

    plain = report(weighing(loop, Weighting.NONE), window())["versions"]["1"]
    document = report(weighing(loop, Weighting.PROPENSITY), window())
    weighed = document["versions"]["1"]

    rows = plain["labelled"]
    assert rows > COUNT * 0.9
    spread = (truth * (1 - truth) / rows) ** 0.5
    assert plain["happened"] < truth - 5 * spread
    assert (
        abs(weighed["happened"] - truth) < 4 * (truth * (1 - truth) / weighed["effective"]) ** 0.5
    )
    assert plain["effective"] == rows
    assert weighed["labelled"] == rows
    assert 0.1 * rows < weighed["effective"] < 0.9 * rows
    assert plain["auc"]["value"] < weighed["auc"]["value"], "those with high scores were rebooked"
    assert "1 / propensity" in render(document)


def test_a_model_learns_what_happens_and_not_what_was_done(rebooked: Path) -> None:
    """Unweighted, the flights that are most often late look as if they never were."""
    loop = opened(rebooked)
    rows = labelled(
        Joiner(loop.log.place, loop.log.newest(), loop.feedback, "flight-delay"),
        window(),
        loop.store.bundle("flight-delay", "1").manifest.features,
    )
    place = {f"flight-delays:flights:0:{n}": n for n in range(COUNT)}
    order = [place[name] for name in rows.judged.frame["decision_id"].to_list()]
    late = (shipped_month().head(COUNT)["arrival_delay"] > 15).to_numpy()[order].astype(float)
    test = slice(int(len(late) * 0.85), None)

    found = {}
    for weighting in Weighting:
        made = retrain(weighing(loop, weighting, rounds=40), AS_OF)
        bundle = loop.store.bundle("flight-delay", made.version)
        model = Model(bundle)
        scores = model.scores_of(rows.matrix(model.features.ordered))[test]
        training = bundle.manifest.training
        assert training is not None
        found[weighting] = (measures.auc(late[test], scores).value, scores, training.dataset)
        assert ("test_effective_rows" in made.metrics) == (weighting is Weighting.PROPENSITY)

    plain, weighed = found[Weighting.NONE], found[Weighting.PROPENSITY]
    assert weighed[0] > plain[0] + 0.02
    # Half as often as flights are late: the other half was rebooked.
    truth = late[test].mean() / 2
    assert abs(weighed[1].mean() - truth) < 0.02 < truth - plain[1].mean()
    assert "Kish" not in plain[2]
    assert "count by 1 / propensity, at most 20" in weighed[2]
    assert "(Kish)" in weighed[2]
    verdict = gate(weighing(loop, Weighting.PROPENSITY), "3", AS_OF)
    said = {rule.name: rule.said for rule in verdict.rules}
    assert "by their weights they are as good as" in said["rows"]


def test_a_decision_without_a_propensity_is_not_weighed(rebooked: Path) -> None:
    """It was logged by another build: left out, and counted; it counts where nothing is weighed."""
    loop = weighing(opened(rebooked), Weighting.PROPENSITY)
    joiner = Joiner(loop.log.place, loop.log.newest(), loop.feedback, "flight-delay")
    first = next(joiner.days(window(), DatasetState()))

    old = first.drop("propensity")
    some = first.with_columns(propensity=pl.Series([None, 0.5, 0.01] + [1.0] * (first.height - 3)))

    (nothing,) = weight_of(loop.feedback.retrain, old)
    (weight,) = weight_of(loop.feedback.retrain, some)
    assert old.with_columns(nothing)[WEIGHT].null_count() == old.height
    assert some.select(weight).to_series().head(4).to_list() == [None, 2.0, 20.0, 1.0]
    assert weight_of(weighing(loop, Weighting.NONE).feedback.retrain, some) == []


def drawn(count: int = 3000, seed: int = 1) -> tuple[Values, Values, Values]:
    """Labels, scores and whole weights."""
    scores, labels = seeded(count, seed)
    return labels, scores, np.random.default_rng(seed).integers(1, 6, count).astype(float)


def test_a_row_that_weighs_three_counts_as_three() -> None:
    """Values are those of rows that are there as often as they weigh, and scikit-learn's."""
    labels, scores, weights = drawn()
    repeated = np.repeat(np.arange(len(labels)), weights.astype(int))
    many, their = labels[repeated], scores[repeated]

    assert measures.auc(labels, scores, weights).value == pytest.approx(
        sklearn.roc_auc_score(labels, scores, sample_weight=weights)
    )
    assert measures.log_loss(labels, scores, weights).value == pytest.approx(
        sklearn.log_loss(labels, scores, sample_weight=weights)
    )
    assert measures.brier(labels, scores, weights).value == pytest.approx(
        sklearn.brier_score_loss(labels, scores, sample_weight=weights)
    )
    for ours, theirs in (
        (measures.auc, measures.auc(many, their)),
        (measures.log_loss, measures.log_loss(many, their)),
        (measures.brier, measures.brier(many, their)),
    ):
        assert ours(labels, scores, weights).value == pytest.approx(theirs.value)
    assert thresholds(labels, scores, [0.3], weights)[0].precision == pytest.approx(
        thresholds(many, their, [0.3])[0].precision
    )
    names = np.where(scores > 0.5, "late", "on_time").astype(object)
    costs = {"late": Cost(positive=0, negative=5), "on_time": Cost(positive=10, negative=0)}
    assert mean_cost(costs, names, labels, weights).value == pytest.approx(
        mean_cost(costs, names[repeated], many).value
    )
    one, two = fit_platt(scores / 2, labels, weights), fit_platt(their / 2, many)
    assert (one.slope, one.intercept) == pytest.approx((two.slope, two.intercept))


def test_weights_that_are_alike_change_nothing() -> None:
    """Values, intervals and calibration; and as many rows count as there are."""
    labels, scores, _ = drawn()
    noisy = np.clip(scores + np.random.default_rng(2).normal(0, 0.05, len(scores)), 0.01, 0.99)
    alike = np.full(len(labels), 2.5)

    def same(one: Measure, two: Measure) -> bool:
        return (one.value, one.error) == pytest.approx((two.value, two.error), rel=1e-9)

    assert same(measures.auc(labels, scores, alike), measures.auc(labels, scores))
    assert same(
        measures.auc_difference(labels, scores, noisy, alike),
        measures.auc_difference(labels, scores, noisy),
    )
    assert same(
        measures.log_loss_difference(labels, scores, noisy, alike),
        measures.log_loss_difference(labels, scores, noisy),
    )
    weighed, plain = (measures.calibration(labels, scores, w) for w in (alike, None))
    assert measures.calibration_error(weighed) == pytest.approx(measures.calibration_error(plain))
    assert effective(alike) == pytest.approx(len(labels))
    assert effective(np.array([1.0, 0, 0])) == 1
    assert effective(np.empty(0)) == 0


def test_intervals_of_weighted_measures_hold_what_they_promise() -> None:
    """Of 400 samples with unequal chances 95 % intervals miss the whole's value in about 5 %."""
    rng = np.random.default_rng(5)
    whole_scores, whole_labels = seeded(200_000, seed=9)
    chance = np.where(whole_scores > 0.4, 0.1, 0.9)
    truth = [
        measures.log_loss(whole_labels, whole_scores).value,
        measures.auc(whole_labels, whole_scores).value,
    ]

    missed = np.zeros(2)
    for _ in range(400):
        some = rng.integers(0, len(whole_labels), 3000)
        kept = some[rng.random(3000) < chance[some]]
        rows = (whole_labels[kept], whole_scores[kept], 1 / chance[kept])
        for number, of in enumerate((measures.log_loss, measures.auc)):
            low, high = of(*rows).interval(0.95)
            missed[number] += not low <= truth[number] <= high

    assert (missed / 400 < 0.09).all(), missed
    assert (missed / 400 > 0.02).all(), missed
