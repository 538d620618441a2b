"""Training rows on the workers of a Dask cluster: whole days each, which no machine else holds.

Here come counts, a sample, and of the later rows scores, labels and weights: 32 bytes each.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np

from workers.feedback.collect import DECISIONS
from workers.feedback.lake.commits import Commit
from workers.feedback.lake.files import of_days
from workers.feedback.learning import remote
from workers.feedback.learning.cluster import Cluster
from workers.feedback.learning.local import TICK, categorical
from workers.feedback.learning.parts import Cuts, Part, Summary, enough
from workers.feedback.learning.remote import Asked, Counted, Facts
from workers.feedback.learning.rows import with_new_categories
from workers.feedback.quality.measures import Values
from workers.feedback.quality.weights import effective_of
from workers.models.bundle import Feature
from workers.models.distributed import Share, train_distributed
from workers.models.learning import Parameters
from workers.topology.feedback import Retrain, Weighting

Days = list[datetime.date]


@dataclass(frozen=True, slots=True)
class Held:
    """One worker's block: a future of it, and what it has of each part."""

    worker: str
    block: Any
    facts: dict[Part, Facts]


class DaskRows:
    """Rows where they were read. `TrainingRows` says what the methods promise."""

    def __init__(
        self,
        cluster: Cluster,
        held: Sequence[Held],
        counted: Sequence[Counted],
        features: tuple[Feature, ...],
        settings: Retrain,
        cuts: Cuts,
    ) -> None:
        self._cluster = cluster
        self._held = held
        self._counted = counted
        self._settings = settings
        self._cuts = cuts
        self._told = cache(self._gathered)
        self.features = features

    @property
    def summary(self) -> Summary:
        """What is said of them."""
        training, later = self._facts(Part.TRAIN), self._facts(Part.CALIBRATE)
        weighted = self._settings.weighting is not Weighting.NONE
        weight, squares = sum(f.weight for f in training), sum(f.squares for f in training)
        return Summary(
            rows=self._cuts.test,
            since=min(time for each in training for time in each.times),
            until=max(time for each in later for time in each.times) + TICK,
            versions=sorted(set[str]().union(*(each.versions for each in self._counted))),
            left_out=left_out(self._counted),
            effective=effective_of(weight, squares) if weighted else None,
        )

    def trees(self, parameters: Parameters, *, search: bool) -> str:
        """A booster's text, trained where the rows are."""
        port = self._settings.dask.port if self._settings.dask else None
        network = {} if port is None else {"local_listen_port": port}
        shares = []
        for held in self._held:
            facts = held.facts[Part.TRAIN]
            rows = facts.fitted if search else facts.rows
            if rows:
                # LightGBM waits for ever for a worker that has none.
                shares.append(self._share(held, rows))
        return train_distributed(
            self._cluster.client,
            shares,
            names=[feature.name for feature in self.features],
            categorical=categorical(self.features),
            parameters={**parameters, **network},
            rounds=self._settings.rounds,
            seed=self._settings.seed,
        )

    def happened(self, part: Part) -> float:
        """The share of labels that are 1."""
        facts = self._facts(part)
        return sum(each.ones for each in facts) / sum(each.rows for each in facts)

    def labels(self, part: Part) -> Values:
        """0 or 1 a row."""
        _, labels, _ = self._told(part)
        return labels

    def weights(self, part: Part) -> Values | None:
        """A weight a row, or None where they count alike."""
        _, _, weights = self._told(part)
        return weights

    def scores(self, text: str, part: Part) -> Values:
        """A booster's score a row; matrices stay where they are."""
        order, _, _ = self._told(part)
        booster = self._cluster.everywhere(text)
        found = self._each(remote.scored, part, self._cuts, booster, self._settings.threads)
        scores: Values = np.concatenate(found)[order]
        return scores

    def sample(self) -> Values:
        """Every `stride`th training row."""
        found = self._each(remote.sampled, self._cuts.stride)
        places = np.concatenate([places for places, _ in found])
        matrix: Values = np.concatenate([rows for _, rows in found])[np.argsort(places)]
        return matrix

    def _gathered(self, part: Part) -> tuple[Any, Values, Values | None]:
        """What puts the workers' rows into the order of events; labels and weights in it."""
        found = self._each(remote.told, part, self._cuts)
        order = np.argsort(np.concatenate([places for places, _, _ in found]))
        labels = np.concatenate([labels for _, labels, _ in found])[order]
        if self._settings.weighting is Weighting.NONE:
            return order, labels, None
        return order, labels, np.concatenate([weights for _, _, weights in found])[order]

    def _share(self, held: Held, rows: int) -> Share:
        columns = ["matrix", "labels"]
        if self._settings.weighting is not Weighting.NONE:
            columns.append("weights")
        found = [
            self._cluster.on(held.worker, remote.column, held.block, name, rows) for name in columns
        ]
        return Share(rows, found[0], found[1], found[2] if len(found) > 2 else None)

    def _facts(self, part: Part) -> list[Facts]:
        return [held.facts[part] for held in self._held]

    def _each(self, work: Any, *arguments: Any) -> list[Any]:
        """What the work comes to on each worker's block."""
        return self._cluster.results(
            [self._cluster.on(held.worker, work, held.block, *arguments) for held in self._held]
        )


def spread(cluster: Cluster, asked: Asked, commit: Commit, settings: Retrain) -> DaskRows:
    """Let each worker read its days, and cut them by what all of them have.

    Raises:
        ModelError: there are too few rows, or a feature is not logged.
    """
    shared = _shared(asked, commit, len(cluster.workers))
    workers = cluster.workers[: len(shared)]
    read = [
        cluster.on(worker, remote.read, asked, days)
        for worker, days in zip(workers, shared, strict=True)
    ]
    counted: list[Counted] = cluster.results(
        [
            cluster.on(worker, remote.counted, rows, asked.features)
            for worker, rows in zip(workers, read, strict=True)
        ]
    )
    starts = _starts(shared, counted)
    cut = enough(settings, sum(sum(each.rows) for each in counted), left_out(counted))
    categories: dict[str, Counter[str]] = {}
    for each in counted:
        for name, counts in each.categories.items():
            categories.setdefault(name, Counter()).update(counts)
    features = with_new_categories(asked.features, categories)
    blocks = [
        cluster.on(worker, remote.cut, rows, begin, cut, features)
        for worker, rows, begin in zip(workers, read, starts, strict=True)
    ]
    facts = cluster.results(
        [
            cluster.on(worker, remote.facts, block)
            for worker, block in zip(workers, blocks, strict=True)
        ]
    )
    held = [Held(*each) for each in zip(workers, blocks, facts, strict=True)]
    return DaskRows(cluster, held, counted, features, settings, cut)


def left_out(counted: Sequence[Counted]) -> dict[str, int]:
    """How many, by why."""
    whole = Counter[str]()
    for each in counted:
        whole.update(each.left_out)
    return dict(whole)


def _shared(asked: Asked, commit: Commit, workers: int) -> list[Days]:
    """Days of each worker, ascending: each day goes to who has the fewest decisions so far.

    So everyone has days of every part, about as many rows, and the same where the commit is.
    """
    window = asked.window
    files = of_days(commit.table(DECISIONS), window.since.date(), window.until.date())
    rows = Counter[datetime.date]()
    for file in files:
        rows[file.day] += file.rows
    loads, found = [0] * workers, [Days() for _ in range(workers)]
    for day in sorted(rows):
        least = loads.index(min(loads))
        loads[least] += rows[day]
        found[least].append(day)
    return [days for days in found if days]


def _starts(shared: Sequence[Days], counted: Sequence[Counted]) -> list[list[int]]:
    """The number of each day's first row, in the order of all days."""
    rows = {
        day: count
        for days, each in zip(shared, counted, strict=True)
        for day, count in zip(days, each.rows, strict=True)
    }
    days = sorted(rows)
    first = dict(zip(days, accumulate((rows[day] for day in days), initial=0), strict=False))
    return [[first[day] for day in each] for each in shared]
