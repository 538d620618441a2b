"""The models that a loop serves, taken from their followers between two batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from workers.errors import Halt
from workers.models.aliases import WorkerPause
from workers.models.following import Follower, ModelEvent
from workers.models.serving import Serving
from workers.stream.journal import Event, Journal


class Slot:
    """What a loop does about its models, between its batches."""

    def __init__(
        self,
        followers: Sequence[Follower],
        serve: Callable[[Sequence[Serving]], None],
        journal: Journal,
    ) -> None:
        """`followers` has one a block; `serve` makes the path go on with what they say.

        `serve` raises a Halt where that does not fit, and changes nothing but a bypass then.
        """
        self._followers = followers
        self._serve = serve
        self._journal = journal
        self._taken = [follower.serving for follower in followers]

    def start(self) -> None:
        """Follow from now on."""
        for follower in self._followers:
            follower.start()

    def take(self) -> None:
        """Go on with the newest."""
        servings = [follower.serving for follower in self._followers]
        if all(new is old for new, old in zip(servings, self._taken, strict=True)):
            return
        self._taken = servings
        versions = [serving.model.manifest.version for serving in servings]
        try:
            self._serve(servings)
        except Halt as halt:
            # A model that does not fit the contracts never replaces one that does.
            self._journal.error(Event.MODEL_REFUSED, versions=versions, why=str(halt))
        else:
            bypass = [serving.bypass for serving in servings]
            self._journal.info(Event.MODEL_SERVED, versions=versions, bypass=bypass)

    @property
    def pause(self) -> WorkerPause | None:
        """What the document of the first block's model says of the worker."""
        return self._followers[0].pause if self._followers else None

    def close(self) -> None:
        """Follow no more."""
        for follower in self._followers:
            follower.close()


_LEVELS = {
    ModelEvent.LOADED: Journal.info,
    ModelEvent.COMPILED: Journal.info,
    ModelEvent.RESUMED: Journal.info,
    ModelEvent.CANARY: Journal.info,
    ModelEvent.CANARY_ENDED: Journal.info,
    ModelEvent.REFUSED: Journal.error,
}


def noted(journal: Journal) -> Callable[[ModelEvent, Mapping[str, object]], None]:
    """What a follower tells, as log lines."""

    def note(event: ModelEvent, fields: Mapping[str, object]) -> None:
        if event is ModelEvent.REFUSED:
            journal.counts.refused_models[str(fields["version"])] += 1
        _LEVELS.get(event, Journal.warn)(journal, event, **fields)

    return note
