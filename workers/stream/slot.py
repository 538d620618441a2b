"""The model that a loop serves, taken from its follower between two batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workers.errors import Halt
from workers.models.following import Follower, ModelEvent
from workers.models.model import Model
from workers.stream.journal import Event, Journal


class Slot:
    """What a loop does about its model, between its batches."""

    def __init__(
        self, follower: Follower, serve: Callable[[Model, str | None], None], journal: Journal
    ) -> None:
        """`serve` makes the path go on with a model, or raises a Halt and changes nothing."""
        self._follower = follower
        self._serve = serve
        self._journal = journal
        self._revision = 0

    def start(self) -> None:
        """Follow from now on."""
        self._follower.start()

    def take(self) -> None:
        """Go on with the newest."""
        serving = self._follower.serving
        if serving.revision == self._revision:
            return
        self._revision = serving.revision
        version = serving.model.manifest.version
        try:
            self._serve(serving.model, serving.bypass)
        except Halt as halt:
            # A model that does not fit the contracts never replaces one that does.
            self._journal.error(Event.MODEL_REFUSED, version=version, why=str(halt))
        else:
            bypass = serving.bypass
            self._journal.info(Event.MODEL_SERVED, version=version, bypass=bypass)

    def close(self) -> None:
        """Follow no more."""
        self._follower.close()


_LEVELS = {
    ModelEvent.LOADED: Journal.info,
    ModelEvent.RESUMED: Journal.info,
    ModelEvent.REFUSED: Journal.error,
}


def noted(journal: Journal) -> Callable[[ModelEvent, Mapping[str, object]], None]:
    """What a follower tells, as log lines."""

    def note(event: ModelEvent, fields: Mapping[str, object]) -> None:
        if event is ModelEvent.REFUSED:
            journal.counts.refused_models[str(fields["version"])] += 1
        _LEVELS.get(event, Journal.warn)(journal, event, **fields)

    return note
