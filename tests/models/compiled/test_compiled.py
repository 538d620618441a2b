"""Compiled trees answer as LightGBM does, bit for bit, or are not used."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.errors import ModelError
from workers.models.booster import Booster
from workers.models.bundle import Bundle
from workers.models.compiled.emit import emit
from workers.models.compiled.native import Native, to_machine_code
from workers.models.compiled.parity import check_same, edge_rows
from workers.models.compiled.trees import Forest, Missing, Split, Tree, read_forest
from workers.models.model import Model

ROWS = 2_000
QUIET = {"verbosity": -1, "num_threads": 1, "seed": 1, "deterministic": True, "min_data_in_leaf": 5}
WIDE = {"categories": 300, "max_cat_to_onehot": 1, "cat_smooth": 1, "cat_l2": 0}


def trained(*, categories: int = 20, **parameters: Any) -> str:
    """The text of a small model over numbers with gaps and zeros, and a feature of categories."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(ROWS, 5))
    rows[rng.random(rows.shape) < 0.2] = math.nan
    rows[rng.random(rows.shape) < 0.2] = 0.0
    rows[:, 4] = rng.integers(categories, size=ROWS)
    first = np.nan_to_num(rows[:, 0], nan=0.7) + (rows[:, 4] % 3) - np.isnan(rows[:, 1])
    label = (first + rng.normal(size=ROWS) * 0.1 > 1).astype(float)
    settings = {"objective": "binary", "num_leaves": 12, **QUIET, **parameters}
    data = lightgbm.Dataset(rows, label, categorical_feature=[4], params=settings)
    text: str = lightgbm.train(settings, data, num_boost_round=20).model_to_string()
    return text


def native(forest: Forest) -> Native:
    """The forest as machine code in this process."""
    return Native(to_machine_code(emit(forest)), features=forest.features)


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="missing is NaN"),
        pytest.param({"zero_as_missing": True}, id="missing is zero"),
        pytest.param({"use_missing": False}, id="nothing is missing"),
        pytest.param(WIDE, id="wide sets"),
        pytest.param({"max_cat_to_onehot": 100}, id="one category a split"),
        pytest.param({"objective": "regression"}, id="no sigmoid"),
        pytest.param({"sigmoid": 0.3}, id="another sigmoid"),
        pytest.param({"objective": "cross_entropy"}, id="cross entropy"),
        pytest.param({"min_data_in_leaf": ROWS}, id="no split at all"),
        pytest.param({"boosting": "dart"}, id="dart"),
        pytest.param({"extra_trees": True, "max_bin": 500}, id="thresholds by chance"),
    ],
)
def test_every_edge_of_every_tree_scores_as_lightgbm_does(parameters: dict[str, Any]) -> None:
    """Thresholds met and just passed, NaN, zeros, infinities, categories unseen: the same bits."""
    text = trained(**parameters)
    forest = read_forest(text)
    rows = edge_rows(forest)

    found = native(forest).predict(rows)

    assert found.tobytes() == Booster(text, threads=1).predict(rows).tobytes()


def test_the_model_with_wide_sets_has_them() -> None:
    """A set beyond a machine word is what the case of that name is about."""
    forest = read_forest(trained(**WIDE))
    sets = [s.categories for tree in forest.trees for s in tree.splits if s.categories is not None]

    assert max(members.bit_length() for members in sets) > 64


def test_the_models_with_missing_values_have_them() -> None:
    """Each kind of missing value that LightGBM knows is among what is compared."""
    texts = (trained(), trained(zero_as_missing=True), trained(use_missing=False))

    kinds = {s.missing for text in texts for tree in read_forest(text).trees for s in tree.splits}

    assert kinds == set(Missing)


def test_edge_rows_reach_every_leaf(bundle: Bundle) -> None:
    """What is compared at load is every leaf of the demo's model, not the likely ones."""
    forest = read_forest(bundle.booster)
    booster = lightgbm.Booster(model_str=bundle.booster)

    leaves = np.asarray(booster.predict(edge_rows(forest), pred_leaf=True, num_threads=1))

    reached = [len(np.unique(leaves[:, number])) for number in range(len(forest.trees))]
    assert reached == [len(tree.leaves) for tree in forest.trees]


def test_real_flights_score_the_same_whatever_stands_beside_them(
    bundle: Bundle, contracts: Catalogue, flights: list[bytes]
) -> None:
    """One by one, in odd batches and at once: the same bits as LightGBM's."""
    table = Decoder(contracts.versions("flights-value")[1].schema).decode(flights).table
    matrix = Model(bundle).features.compute(table).matrix
    scorer = native(read_forest(bundle.booster))

    at_once = scorer.predict(matrix)
    by_257 = np.concatenate([scorer.predict(matrix[at : at + 257]) for at in range(0, 4000, 257)])
    single = np.concatenate([scorer.predict(matrix[at : at + 1]) for at in range(400)])

    wanted = Booster(bundle.booster, threads=1).predict(matrix)
    assert at_once.tobytes() == wanted.tobytes() == by_257.tobytes()
    assert single.tobytes() == wanted[:400].tobytes()
    assert scorer.predict(matrix[:0]).shape == (0,)
    assert scorer.predict(np.asfortranarray(matrix)).tobytes() == wanted.tobytes()


def test_a_matrix_of_another_width_is_refused(bundle: Bundle) -> None:
    """Machine code would read beyond it."""
    scorer = native(read_forest(bundle.booster))

    with pytest.raises(ValueError, match="13 features"):
        scorer.predict(np.zeros((2, 12)))


def higher(split: Split) -> Split:
    """The threshold is the next number."""
    return replace(split, threshold=math.nextafter(split.threshold, math.inf))


def lower(split: Split) -> Split:
    """The threshold is the number before."""
    return replace(split, threshold=math.nextafter(split.threshold, -math.inf))


def other_default(split: Split) -> Split:
    """NaN goes the other way."""
    return replace(split, default_left=not split.default_left)


def swapped(split: Split) -> Split:
    """Left is right."""
    return replace(split, left=split.right, right=split.left)


def one_category_less(split: Split) -> Split:
    """The first category of the set goes right."""
    members = split.categories or 0
    return replace(split, categories=members & (members - 1))


Where = Callable[[Tree, int], bool]


def by_number(tree: Tree, at: int) -> bool:
    """Away from zero, where LightGBM sees no difference."""
    return tree.splits[at].categories is None and abs(tree.splits[at].threshold) > 1e-30


def by_category(tree: Tree, at: int) -> bool:
    """A set of more than one category: an empty one is never written."""
    members = tree.splits[at].categories
    return members is not None and members.bit_count() > 1


def nan_comes(tree: Tree, at: int) -> bool:
    """NaN is missing here, and every split above by the same feature sends it here."""
    feature, child = tree.splits[at].feature, at
    while child:
        parent = next(n for n, s in enumerate(tree.splits) if child in (s.left, s.right))
        above = tree.splits[parent]
        if above.feature == feature and above.nan_left != (above.left == child):
            return False
        child = parent
    return tree.splits[at].missing is Missing.NAN


DAMAGES: list[tuple[Callable[[Split], Split], Where]] = [
    (higher, by_number),
    (lower, by_number),
    (other_default, nan_comes),
    (swapped, lambda _, __: True),
    (one_category_less, by_category),
]


@pytest.mark.parametrize(("damage", "where"), DAMAGES, ids=[d.__name__ for d, _ in DAMAGES])
def test_one_wrong_split_of_three_thousand_is_found(
    bundle: Bundle, damage: Callable[[Split], Split], where: Where
) -> None:
    """The gate sees one bit of one threshold, one default, one category, wherever it is."""
    forest = read_forest(bundle.booster)
    rows = edge_rows(forest)
    wanted = Booster(bundle.booster, threads=1).predict(rows)
    rng = np.random.default_rng(3)
    places = [
        (number, at)
        for number, tree in enumerate(forest.trees)
        for at in range(len(tree.splits))
        if where(tree, at)
    ]
    for number, at in rng.choice(places, size=8, replace=False).tolist():
        tree = forest.trees[number]
        splits = (*tree.splits[:at], damage(tree.splits[at]), *tree.splits[at + 1 :])
        trees = (*forest.trees[:number], replace(tree, splits=splits), *forest.trees[number + 1 :])

        wrong = native(replace(forest, trees=trees)).predict(rows)

        with pytest.raises(ModelError, match="edge rows score otherwise"):
            check_same(wanted, wrong, of="edge")


@pytest.mark.parametrize(
    ("wanted", "found"), [(0.5, 0.5 + 1e-11), (0.5, math.nan), (math.nan, 0.5), (1e300, math.inf)]
)
def test_scores_that_differ_are_told_apart(wanted: float, found: float) -> None:
    """NaN is a score like another here, and equals only itself."""
    same = np.array([0.1, math.nan, math.inf])

    check_same(same, same.copy(), of="few")
    with pytest.raises(ModelError, match="1 of 2 few rows"):
        check_same(np.array([0.1, wanted]), np.array([0.1, found]), of="few")


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"objective": "multiclass", "num_class": 2}, "one score a row"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "averaged"),
        ({"objective": "poisson"}, "objective=poisson"),
        ({"objective": "regression", "reg_sqrt": True}, "objective=regression sqrt"),
        ({"objective": "regression", "linear_tree": True}, "linear leaves"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(parameters: dict[str, Any], why: str) -> None:
    """LightGBM goes on, and the reason says what to look for."""
    with pytest.raises(ModelError, match=why):
        read_forest(trained(**parameters))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left_child=1 ", "left_child=0 "),
        ("split_feature=0 ", "split_feature=13 "),
        ("version=v4", "version=v9"),
        ("decision_type=2 ", "decision_type=14 "),
        ("sigmoid:1", "sigmoid:x"),
    ],
)
def test_a_damaged_text_is_refused_before_it_is_compiled(
    bundle: Bundle, old: str, new: str
) -> None:
    """A circle would score for ever, a wrong feature would read beyond the row."""
    assert old in bundle.booster
    damaged = bundle.booster.replace(old, new, 1)

    with pytest.raises(ModelError):
        read_forest(damaged)
