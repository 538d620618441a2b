"""The windows of a worker's blocks, and what they say by now."""

from __future__ import annotations

from collections.abc import Iterator

from workers.enrich.batch import Opinion
from workers.models.drift import DriftFigures, DriftState
from workers.telemetry import names
from workers.telemetry.registry import Sample
from workers.topology import Drift

EVERY = 5.0
"""Seconds between two looks at the windows."""


class Drifting:
    """Fed and looked at by the loop; what it found last is read by anybody."""

    def __init__(self, settings: Drift | None) -> None:
        """None: nothing is compared."""
        self._settings = settings
        self._states: dict[str, DriftState] = {}
        self._due = 0.0
        self.found: dict[str, DriftFigures] = {}
        """By block; replaced whole."""

    def feed(self, opinion: Opinion, now: float) -> None:
        """Take note of what a block's champion was asked; another version begins anew."""
        settings = self._settings
        if settings is None or opinion.asked is None:
            return
        state = self._states.get(opinion.block)
        if state is None or state.version != opinion.model.manifest.version:
            state = self._states[opinion.block] = DriftState(
                opinion.model,
                window=settings.window,
                rows_per_second=settings.rows_per_second,
                least=settings.least,
            )
        state.feed(opinion.asked, now)

    def look(self, now: float) -> None:
        """Work out the windows, if it is time."""
        if now < self._due:
            return
        self._due = now + EVERY
        self.found = {block: state.figures(now) for block, state in self._states.items()}

    def samples(self) -> Iterator[Sample]:
        """What was found last."""
        for block, found in self.found.items():
            yield names.DRIFT_ROWS, (block,), found.rows
            if found.score is not None:
                yield names.SCORE_PSI, (block,), found.score
            for metric, by_feature in (
                (names.FEATURE_PSI, found.features),
                (names.MISSING, found.missing),
                (names.UNSEEN, found.unseen),
            ):
                for feature, number in by_feature.items():
                    yield metric, (block, feature), number
