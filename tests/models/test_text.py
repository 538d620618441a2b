"""A booster's text, read without LightGBM; and what is no text of a booster."""

from __future__ import annotations

import pickle
import zlib

import lightgbm
import numpy as np
import pytest

from workers.errors import ModelError
from workers.models.bundle import Bundle
from workers.models.text import read_text, text_of


def test_the_gain_of_features_is_lightgbms(bundle: Bundle) -> None:
    """The text has gains in six digits."""
    booster = lightgbm.Booster(model_str=bundle.booster)
    expected = dict(
        zip(booster.feature_name(), booster.feature_importance("gain").tolist(), strict=True)
    )

    assert read_text(bundle.booster).gain == pytest.approx(expected, rel=1e-6)


def test_types_and_codes_are_what_it_was_trained_with(bundle: Bundle) -> None:
    """Two categorical features, the codes of all their categories."""
    text = read_text(bundle.booster)

    assert text.highest_code == {"carrier": 15, "origin": 2}
    assert text.numeric == set(text.names) - {"carrier", "origin"}
    assert text.pandas_categories is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"a": 1}), "pickle.*save_model"),
        (zlib.compress(b"joblib"), "pickle.*save_model"),
        (b'{"name": "tree", "version": "v4"}', "dump_model.*save_model"),
        (b"\xff\xfe", "not text.*save_model"),
        (b"import os", "begins with `tree`.*save_model"),
        (b"", "begins with `tree`"),
    ],
)
def test_what_is_no_text_of_a_booster_is_refused(content: bytes, said: str) -> None:
    """A pickle is not even looked into. The text says what to call."""
    with pytest.raises(ModelError, match=said):
        text_of(content)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("feature_names=departure_delay ", "feature_names="),
        ("split_feature=0 0", "split_feature=0"),
        ("split_feature=0 0", "split_feature=0 99"),
        ("split_feature=0 0", "split_feature=0 nothing"),
        ("cat_boundaries=0 1", "cat_boundaries=0"),
        ("pandas_categorical:null", "pandas_categorical:7"),
        (" -1:0:1:2 ", " -1:0:one "),
    ],
)
def test_parts_that_contradict_each_other_are_refused(
    bundle: Bundle, before: str, after: str
) -> None:
    """Without a crash, and without asking LightGBM."""
    assert before in bundle.booster
    text = bundle.booster.replace(before, after, 1)

    with pytest.raises(ModelError):
        _ = (found := read_text(text)).gain, found.highest_code, found.numeric


@pytest.mark.parametrize("seed", range(5))
def test_no_damage_raises_anything_else(bundle: Bundle, seed: int) -> None:
    """Characters changed, lines taken away, the end cut off: read, or refused."""
    random = np.random.default_rng(seed)
    head, middle = bundle.booster[:9_000], bundle.booster[-3_000:]
    refused = 0
    for _ in range(100):
        text = list(head + middle)
        for place in random.integers(5, len(text), 6).tolist():
            text[place] = str(random.choice(list("0-9 .e=\n:[]nT")))
        lines = "".join(text).splitlines()
        del lines[int(random.integers(1, len(lines)))]
        damaged = "\n".join(lines)[: int(random.integers(100, 12_000))]
        try:
            _ = (found := read_text(damaged)).gain, found.highest_code, found.numeric
        except ModelError:
            refused += 1
    assert refused > 0


def test_a_booster_of_single_leaves_has_no_splits() -> None:
    """Nothing to learn is no fault of the text."""
    data = lightgbm.Dataset(np.zeros((50, 2)), label=np.ones(50))
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(parameters, data, num_boost_round=2)

    text = read_text(booster.model_to_string())

    assert text.gain == {"Column_0": 0.0, "Column_1": 0.0}
    assert (text.highest_code, text.numeric) == ({}, frozenset())
