"""Decisions and outcomes joined: right at every instant, whatever came late, twice or never."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feedback.lakes import DAY, HOUR, START, decision, fill, log_of, loop_of, outcome
from workers.feedback.dataset import DatasetState, Joiner, Window, write_dataset
from workers.topology import Feedback

END = START + 60 * DAY


def rows(
    loop: Feedback, as_of: datetime.datetime, until: datetime.datetime = END
) -> tuple[dict[str, dict[str, Any]], DatasetState]:
    """The dataset's rows by decision id."""
    log, state = log_of(loop), DatasetState()
    joiner = Joiner(log.place, log.newest(), loop, "flight-delay")
    frames = list(joiner.days(Window(START, until, as_of), state))
    found = pl.concat(frames, how="diagonal_relaxed").to_dicts() if frames else []
    assert len({row["decision_id"] for row in found}) == len(found)
    return {row["decision_id"]: row for row in found}, state


def test_an_outcome_is_found_by_id_or_by_key_and_time(tmp_path: Path) -> None:
    """The id where it is given; else the key, and only at its time."""
    loop = loop_of(tmp_path)
    at = START + HOUR
    fill(
        log_of(loop),
        [decision(n, at) for n in range(4)],
        [
            outcome(at + HOUR, 20, decision_id="d0"),
            outcome(at + HOUR, 3, tailnum="N1", departed_at=at),
            outcome(at + HOUR, 99, tailnum="N2", departed_at=at + HOUR),
        ],
    )

    found, state = rows(loop, END)

    assert [found[f"d{n}"]["label"] for n in range(4)] == [1.0, 0.0, None, None]
    assert state.outcomes == {"known": 2, "absent": 2}


def test_times_may_differ_by_the_tolerance(tmp_path: Path) -> None:
    """The nearest event of the key within it."""
    loop = loop_of(tmp_path, tolerance="10m")
    minute = HOUR / 60
    fill(
        log_of(loop),
        [decision(1, START + HOUR), decision(2, START + 2 * HOUR, event_key="N1")],
        [
            outcome(START + 3 * HOUR, 20, tailnum="N1", departed_at=START + HOUR + 4 * minute),
            outcome(START + 3 * HOUR, 20, tailnum="N1", departed_at=START + 2 * HOUR - 11 * minute),
        ],
    )

    found, _ = rows(loop, END)

    assert (found["d1"]["label"], found["d2"]["label"]) == (1.0, None)


def test_not_yet_is_not_no(tmp_path: Path) -> None:
    """Before it matures a decision without outcome is pending; after that absent, or negative."""
    loop, negative = loop_of(tmp_path), loop_of(tmp_path, absent="negative")
    fill(log_of(loop), [decision(1, START), decision(2, START + 30 * HOUR)])

    young, _ = rows(loop, START + 40 * HOUR)
    told, _ = rows(negative, START + 40 * HOUR)

    assert (young["d1"]["outcome"], young["d2"]["outcome"]) == ("absent", "pending")
    assert (young["d1"]["label"], young["d2"]["label"]) == (None, None)
    assert (told["d1"]["label"], told["d2"]["label"]) == (0.0, None)


def test_a_correction_counts_from_when_it_was_known(tmp_path: Path) -> None:
    """Point-in-time: a dataset as of an instant never sees what came after it."""
    loop = loop_of(tmp_path)
    fill(
        log_of(loop),
        [decision(1, START)],
        [
            outcome(START + HOUR, 20, decision_id="d1"),
            outcome(START + 5 * HOUR, 3, decision_id="d1"),
            outcome(START + 50 * HOUR, None, decision_id="d1"),
            outcome(START + 60 * HOUR, 30, decision_id="d1"),
        ],
    )

    seen = {h: rows(loop, START + h * HOUR)[0]["d1"] for h in (0.5, 1, 5, 50, 60)}

    assert [seen[h]["label"] for h in seen] == [None, 1.0, 0.0, None, 1.0]
    assert [seen[h]["outcome"] for h in seen] == ["pending", "known", "known", "absent", "known"]
    assert [seen[h]["late"] for h in seen] == [False, False, False, True, True]
    assert [seen[h]["corrections"] for h in seen] == [None, 0, 1, 2, 3]


def test_a_decision_that_did_not_exist_yet_is_not_there(tmp_path: Path) -> None:
    """Nor is one of another model, or one twice."""
    loop = loop_of(tmp_path)
    fill(
        log_of(loop),
        [
            decision(1, START),
            decision(1, START, record_offset=9, decision="late"),
            decision(2, START, scored_at=START + 3 * HOUR),
            decision(3, START, model="other"),
        ],
    )

    before, state = rows(loop, START + HOUR)
    after, _ = rows(loop, START + 3 * HOUR)

    assert before.keys() == {"d1"}
    assert before["d1"]["decision"] == "review"
    assert state.twice == 1
    assert after.keys() == {"d1", "d2"}


def test_days_of_other_features_are_one_file(tmp_path: Path) -> None:
    """Columns of all days; null where a day's model had not got them."""
    loop, target = loop_of(tmp_path), tmp_path / "dataset.parquet"
    log = log_of(loop)
    fill(log, [decision(1, START, **{"number.age": 3.5})], [outcome(END, 20, decision_id="d2")])
    fill(log, [decision(2, START + DAY, **{"category.place": "x"})])

    state = write_dataset(
        Joiner(log.place, log.newest(), loop, "flight-delay"), Window(START, END, END), target
    )

    table = pq.read_table(target).to_pylist()
    assert [(row["number.age"], row["category.place"]) for row in table] == [
        (3.5, None),
        (None, "x"),
    ]
    assert [row["label"] for row in table] == [None, 1.0]
    assert state.rows == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset.parquet", "lake"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.integers(0, 80),
            st.sampled_from([None, 0, 20]),
            st.sampled_from(["id", "key"]),
        ),
        max_size=12,
    ),
    as_of=st.integers(0, 100),
)
def test_the_join_is_what_going_through_all_outcomes_says(
    tmp_path_factory: pytest.TempPathFactory,
    data: list[tuple[int, int, int | None, str]],
    as_of: int,
) -> None:
    """Held to a loop over every outcome, in every order of arrival."""
    loop = loop_of(tmp_path_factory.mktemp("lake"))
    at = {n: START + n * 7 * HOUR for n in range(5)}
    outcomes = [
        outcome(
            START + hour * HOUR,
            delay,
            record_offset=place,
            **(
                {"decision_id": f"d{n}"}
                if how == "id"
                else {"tailnum": f"N{n}", "departed_at": at[n]}
            ),
        )
        for place, (n, hour, delay, how) in enumerate(data)
    ]
    fill(log_of(loop), [decision(n, at[n]) for n in at], outcomes)

    found, _ = rows(loop, START + as_of * HOUR)

    for n, moment in at.items():
        if moment > START + as_of * HOUR:
            assert f"d{n}" not in found
            continue
        known = [
            (hour, place, delay, how)
            for place, (other, hour, delay, how) in enumerate(data)
            if other == n and hour <= as_of
        ]
        by_id = sorted(k for k in known if k[3] == "id")
        chosen = (by_id or sorted(known))[-1:]
        delay = chosen[0][2] if chosen else None
        assert found[f"d{n}"]["label"] == (None if delay is None else float(delay > 15))
