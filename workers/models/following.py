"""Follows what a worker's model is: loads a newer version beside the one that serves.

One thread looks at the store, another one proves and loads what is new, so that a bypass never
waits for a version; the loop takes both between two batches. What fails its checks never replaces
what serves.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from workers.errors import ModelError, WorkersError
from workers.models.aliases import WorkerPause
from workers.models.model import Model
from workers.models.serving import Canary, Serving
from workers.models.store import Alias, Aliases, Store

CLOSE_SECONDS = 2.0
TRY_AGAIN = 60.0
"""Seconds until a refused version is proven once more: its files may have been on their way."""


class ModelEvent(StrEnum):
    """Every event name that following a model notes."""

    LOADED = "model.loaded"
    REFUSED = "model.refused"
    COMPILED = "model.compiled"
    NOT_COMPILED = "model.not_compiled"
    STORE_UNWELL = "model.store_unwell"
    NOT_KEPT = "model.not_kept"
    CANARY = "model.canary"
    CANARY_ENDED = "model.canary_ended"
    BYPASSED = "model.bypassed"
    RESUMED = "model.resumed"


Note = Callable[[ModelEvent, Mapping[str, object]], None]
"""Told of events, from the follower's threads."""


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
        worker: str = "",
    ) -> None:
        self._store = store
        self._name = name
        self._alias = alias
        self._load = load
        self._poll = poll
        self._note = note
        self._worker = worker
        self._pause: WorkerPause | None = None
        self._refused: dict[str, float] = {}
        self._unwell = False
        self._serving = Serving(began)
        self._found: Aliases | None = None
        # Two threads change what serves, each another part of it.
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._loader: threading.Thread | None = None

    @property
    def serving(self) -> Serving:
        """The newest that passed its checks."""
        return self._serving

    @property
    def pause(self) -> WorkerPause | None:
        """What the document says of `worker`'s partitions."""
        return self._pause

    def start(self) -> None:
        """Take a bypass or pause that is on already; then threads take over.

        While the store is down, one that was on when somebody last looked still is.
        """
        self._tell_backend(self._serving.model)
        self.look()
        if self._unwell and (last := self._store.recall(self._name)) is not None:
            self._pause = last.pauses.get(self._worker)
            self._take_bypass(last)
        self._thread.start()

    def close(self) -> None:
        """End the threads; a model that is being proven is left behind."""
        self._closed.set()
        until = time.monotonic() + CLOSE_SECONDS
        for thread in (self._thread, self._loader):
            if thread is not None and thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))

    def look(self) -> None:
        """Look at the store once, and load what is new."""
        if self._see():
            self._follow()

    def _run(self) -> None:
        while not self._closed.wait(self._poll):
            # A version may take a minute to prove, or to be fetched: the next look comes all the
            # same, or a bypass would wait for it.
            if self._see() and (self._loader is None or not self._loader.is_alive()):
                self._loader = threading.Thread(target=self._follow, name="loader", daemon=True)
                self._loader.start()

    def _see(self) -> bool:
        """Look at the store, and take a bypass at once; could it be read?"""
        try:
            found = self._store.aliases(self._name)
        except ModelError as error:
            if not self._unwell:
                self._tell(ModelEvent.STORE_UNWELL, why=str(error))
            self._unwell = True
            return False
        self._unwell = False
        self._found = found
        self._pause = found.pauses.get(self._worker)
        self._take_bypass(found)
        return True

    def _follow(self) -> None:
        """Go on with the versions that were found last."""
        if (found := self._found) is not None:
            self._take_version(found)
            self._take_canary(found)

    def _serve(self, **changes: Any) -> None:
        with self._lock:
            self._serving = replace(self._serving, **changes)

    def _take_bypass(self, found: Aliases) -> None:
        why = None if found.bypass is None else found.bypass.why
        if why == self._serving.bypass:
            return
        self._serve(bypass=why)
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
        model = self._loaded(str(wanted))
        # It took a while: what was taken back meanwhile never serves.
        if model is not None and (self._found or found).version(self._alias) == wanted:
            self._serve(model=model)
            self._tell(ModelEvent.LOADED, version=wanted)

    def _take_canary(self, found: Aliases) -> None:
        """A canary is the champion's: a worker that serves something else has none."""
        wanted = found.canary if self._alias == "champion" else None
        now = self._serving.canary
        if wanted is None or found.challenger is None:
            if now is not None:
                self._serve(canary=None)
                self._tell(ModelEvent.CANARY_ENDED, version=now.model.manifest.version)
            return
        if now is not None and now.model.manifest.version == found.challenger:
            if now.share == wanted.share:
                return
            model: Model | None = now.model
        else:
            model = self._loaded(found.challenger)
        if self._found is not None and self._found.canary != wanted:
            # It took a while: the next look sees what is meant now.
            return
        if model is not None:
            self._serve(canary=Canary(model, wanted.share))
            self._tell(ModelEvent.CANARY, version=found.challenger, share=wanted.share)
        elif now is not None:
            # Its challenger is not the one that is meant any more.
            self._serve(canary=None)
            self._tell(ModelEvent.CANARY_ENDED, version=now.model.manifest.version)

    def _loaded(self, version: str) -> Model | None:
        """A version, proven; None where it is refused, which is told once."""
        now = time.monotonic()
        if now < self._refused.get(version, now):
            return None
        told = version in self._refused
        try:
            model = self._load(version)
        except Exception as error:  # noqa: BLE001  a dead thread would never swap again
            if not told:
                why = str(error) if isinstance(error, WorkersError) else type(error).__name__
                self._tell(ModelEvent.REFUSED, version=version, why=why)
            self._refused[version] = now + TRY_AGAIN
            return None
        self._refused.pop(version, None)
        self._tell_backend(model)
        return model

    def _tell_backend(self, model: Model) -> None:
        version = model.manifest.version
        if model.not_compiled is not None:
            self._tell(ModelEvent.NOT_COMPILED, version=version, why=model.not_compiled)
        elif model.compiled:
            self._tell(ModelEvent.COMPILED, version=version)

    def _tell(self, event: ModelEvent, **fields: object) -> None:
        # A listener that fails must not end the thread.
        with contextlib.suppress(Exception):
            self._note(event, fields)
