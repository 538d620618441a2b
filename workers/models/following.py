"""Follows what a worker's model is: loads a newer version beside the one that serves.

One thread looks at the store and proves and loads what is new; the loop takes it between two
batches. What fails its checks never replaces what serves.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from workers.errors import ModelError, WorkersError
from workers.models.model import Model
from workers.models.store import Alias, Aliases, Store

CLOSE_SECONDS = 2.0
TRY_AGAIN = 60.0
"""Seconds until a refused version is proven once more: its files may have been on their way."""


class ModelEvent(StrEnum):
    """Every event name that following a model notes."""

    LOADED = "model.loaded"
    REFUSED = "model.refused"
    STORE_UNWELL = "model.store_unwell"
    BYPASSED = "model.bypassed"
    RESUMED = "model.resumed"


Note = Callable[[ModelEvent, Mapping[str, object]], None]
"""Told of events, from the follower's thread."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What decides now: a model, or nothing of it while `bypass` says why."""

    model: Model
    bypass: str | None
    revision: int = 0


class Follower:
    """The model of one worker, kept as its store says.

    `alias` is what the worker serves; None pins the version that it began with, and only a bypass
    is followed then.
    """

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        store: Store,
        name: str,
        alias: Alias | None,
        began: Model,
        load: Callable[[str], Model],
        poll: float,
        note: Note,
    ) -> None:
        self._store = store
        self._name = name
        self._alias = alias
        self._load = load
        self._poll = poll
        self._note = note
        self._refused: str | None = None
        self._again_at = 0.0
        self._unwell = False
        self._serving = Serving(began, None)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    @property
    def serving(self) -> Serving:
        """The newest that passed its checks."""
        return self._serving

    def start(self) -> None:
        """Take a bypass that is on already; then a thread takes over."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """End the thread; a model that is being proven is left behind."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def look(self) -> None:
        """Look at the store once, and load what is new."""
        try:
            found = self._store.aliases(self._name)
        except ModelError as error:
            if not self._unwell:
                self._tell(ModelEvent.STORE_UNWELL, why=str(error))
            self._unwell = True
            return
        self._unwell = False
        # A bypass first: it must not wait for a model that takes long to prove.
        self._take_bypass(found)
        self._take_version(found)

    def _run(self) -> None:
        while not self._closed.wait(self._poll):
            self.look()

    def _take_bypass(self, found: Aliases) -> None:
        why = None if found.bypass is None else found.bypass.why
        if why == self._serving.bypass:
            return
        self._serve(self._serving.model, why)
        if found.bypass is None:
            self._tell(ModelEvent.RESUMED, model=self._name)
        else:
            self._tell(ModelEvent.BYPASSED, model=self._name, why=why, who=found.bypass.who)

    def _take_version(self, found: Aliases) -> None:
        if self._alias is None:
            return
        wanted = found.version(self._alias)
        if wanted in (None, self._serving.model.manifest.version):
            return
        version, now = str(wanted), time.monotonic()
        if version == self._refused and now < self._again_at:
            return
        self._again_at = now + TRY_AGAIN
        try:
            model = self._load(version)
        except WorkersError as error:
            self._refuse(version, str(error))
        except Exception as error:  # noqa: BLE001  a dead thread would never swap again
            self._refuse(version, type(error).__name__)
        else:
            self._refused = None
            self._serve(model, self._serving.bypass)
            self._tell(ModelEvent.LOADED, version=version)

    def _refuse(self, version: str, why: str) -> None:
        if version != self._refused:
            self._tell(ModelEvent.REFUSED, version=version, why=why)
        self._refused = version

    def _serve(self, model: Model, bypass: str | None) -> None:
        self._serving = Serving(model, bypass, self._serving.revision + 1)

    def _tell(self, event: ModelEvent, **fields: object) -> None:
        # A listener that fails must not end the thread.
        with contextlib.suppress(Exception):
            self._note(event, fields)
