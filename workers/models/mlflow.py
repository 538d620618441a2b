"""Models in an MLflow model registry.

A model of ours is a registered model. A version is one of its model versions, whose tag
`enrichment.version` is our name of it, and its files are artifacts of a run: MLflow numbers
versions itself, we name them. It becomes visible by being registered, after its files are there.

The aliases `champion`, `challenger` and `previous` are MLflow's own, and whoever sets them there,
by hand or by its client, is followed. (MLflow keeps `latest`, `v1`, `v2`, … to itself.) Bypass,
canary and history are one JSON document in the tag `enrichment.serving`, as set in one step. A
change writes that tag first and then the aliases one by one; a reader in between sees a canary
that is over, or the champion of before, never a mixture that was not meant.

MLflow has no conditional writes. So writers take turns by registering a model `NAME.changing`,
which MLflow does for one of them only, and remove it again. One that died is waited for
`LEASE` seconds and then removed; if two writers do that in the same instant, and only then,
one change can overwrite the other. A change by other clients of MLflow takes no turn.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from workers.errors import ModelError, StoreUnwell
from workers.models.aliases import ALIAS_NAMES, Alias, Aliases, Make, parse
from workers.models.bundle import MANIFEST
from workers.models.mlflow_answers import Registered, Version
from workers.models.mlflow_http import MlflowHttp, Taken
from workers.models.shelf import exists_already, manifest_last

VERSION_TAG = "enrichment.version"
DIGEST_TAG = "enrichment.manifest_sha256"
SERVING_TAG = "enrichment.serving"
TURN_TAG = "enrichment.turn"
MAX_TAG = 90_000
"""Characters of the document; MLflow takes 100,000. The oldest history goes first."""
LEASE = 30.0
PAUSE = 0.05


class MlflowFiles:
    """The artifacts of a version."""

    def __init__(self, http: MlflowHttp, version: Version | None, wanted: str) -> None:
        self._http = http
        self._version = version
        self._wanted = wanted

    def read(self, file: str, limit: int) -> bytes:
        """The bytes of an artifact; the manifest is held to the digest that the registry keeps."""
        if self._version is None:
            raise ModelError(f"{self._wanted}: there is no such version that is a bundle")
        content = self._http.download(f"{self._folder(self._version)}/{file}", limit)
        digest = self._version.tag(DIGEST_TAG)
        if file == MANIFEST and digest != hashlib.sha256(content).hexdigest():
            raise ModelError(f"{self.place(file)}: its SHA-256 is not the registry's")
        return content

    def place(self, file: str) -> str:
        """The version and its file."""
        return f"{self._wanted}: {file}"

    def _folder(self, version: Version) -> str:
        source = urlsplit(version.source)
        if source.scheme != "mlflow-artifacts":
            raise ModelError(
                f"{self._wanted}: its files are not served by MLflow (source {source.scheme}:); "
                "push it to a server that runs with --serve-artifacts"
            )
        return source.path.strip("/")


class MlflowShelf:
    """Registered models whose versions are bundles."""

    def __init__(self, http: MlflowHttp, experiment: str) -> None:
        self._http = http
        self._experiment = experiment
        self._known: dict[tuple[str, str], tuple[int, str]] = {}

    @property
    def place(self) -> str:
        """The server."""
        return self._http.name

    def names(self) -> set[str]:
        """Registered models that have a bundle."""
        return {found.name for found in self._http.versions() if found.tag(VERSION_TAG)}

    def versions(self, name: str) -> set[str]:
        """Our names of a model's versions."""
        return set(self._numbers(name))

    def files(self, name: str, version: str) -> MlflowFiles:
        """The files of a version."""
        wanted = f"{self.place}: model {name} version {version}"
        return MlflowFiles(self._http, self._numbers(name).get(version), wanted)

    def aliases(self, name: str) -> Aliases:
        """MLflow's aliases with the document of our tag."""
        found = self._http.registered(name)
        return Aliases() if found is None else self._document(found)

    def change(self, name: str, make: Make) -> Aliases:
        """Take the turn; write the tag, then the aliases."""
        with self._turn(name) as still:
            found = self._http.registered(name)
            before = Aliases() if found is None else self._document(found)
            made = make(before)
            numbers = self._numbers(name)
            still()
            self._http.set_tag(name, SERVING_TAG, _fitting(made))
            for alias in ("previous", "champion", "challenger"):
                still()
                self._point(name, alias, before, made, numbers)
        return made

    def put(self, name: str, version: str, contents: Mapping[str, bytes]) -> None:
        """Upload the files to a run of their own, then register them."""
        run = self._http.begin_run(
            self._http.experiment(self._experiment), f"{name} {version}", _now()
        )
        source = f"{run.artifact_uri}/bundle"
        folder = urlsplit(source)
        if folder.scheme != "mlflow-artifacts":
            raise ModelError(
                f"{self.place}: experiment {self._experiment} keeps its artifacts at "
                f"{folder.scheme}:, not on the server; name another `experiment`"
            )
        for file, content in manifest_last(contents):
            self._http.upload(f"{folder.path.strip('/')}/{file}", content)
        self._http.end_run(run.run_id, _now())
        with contextlib.suppress(Taken):
            self._http.register(name, {})
        digest = hashlib.sha256(contents[MANIFEST]).hexdigest()
        tags = {VERSION_TAG: version, DIGEST_TAG: digest}
        with self._turn(name) as still:
            if version in self._numbers(name):
                raise exists_already(f"{self.place}: model {name} version {version}")
            still()
            self._http.add_version(name, source, run.run_id, tags)

    def close(self) -> None:
        """End the request under way."""
        self._http.close()

    def _numbers(self, name: str) -> dict[str, Version]:
        """MLflow's versions by our names; of two with one name the first counts."""
        found: dict[str, Version] = {}
        for version in sorted(self._http.versions(name), key=lambda v: int(v.version)):
            if (own := version.tag(VERSION_TAG)) and version.status == "READY":
                found.setdefault(own, version)
        return found

    def _document(self, model: Registered) -> Aliases:
        text = model.tag(SERVING_TAG)
        where = f"{self.place}: model {model.name}, tag {SERVING_TAG}"
        said = Aliases() if text is None else parse(text, where, Aliases)
        numbers = {found.alias: found.version for found in model.aliases}
        update: dict[str, object] = {
            alias: self._own_name(model, numbers[alias]) if alias in numbers else None
            for alias in ALIAS_NAMES
        }
        if update["challenger"] != said.challenger:
            # It was another model that a share was meant for.
            update["canary"] = None
        return said.model_copy(update=update)

    def _own_name(self, model: Registered, number: str) -> str:
        """Our name of MLflow's number; kept until a version of the model comes or goes."""
        stamp, name = self._known.get((model.name, number), (-1, ""))
        if stamp != model.last_updated_timestamp:
            found = self._http.version(model.name, number)
            # What is no bundle has a name that no bundle has: it is refused when it is loaded.
            name = (found.tag(VERSION_TAG) if found else None) or f"mlflow-{number}"
            self._known[model.name, number] = (model.last_updated_timestamp, name)
        return name

    def _point(
        self,
        name: str,
        alias: Alias,
        before: Aliases,
        made: Aliases,
        numbers: Mapping[str, Version],
    ) -> None:
        wanted = made.version(alias)
        if wanted == before.version(alias):
            return
        if wanted is None:
            self._http.unset_alias(name, alias)
        elif wanted in numbers:
            self._http.set_alias(name, alias, numbers[wanted].version)
        else:
            raise ModelError(f"{self.place}: model {name} has no version {wanted}")

    @contextlib.contextmanager
    def _turn(self, name: str) -> Iterator[_Still]:
        """One writer at a time. What it yields raises where the turn is over."""
        own, lock = uuid.uuid4().hex, f"{name}.changing"
        self._take(lock, own)
        still = _Still(lock)
        try:
            yield still
        finally:
            if not still.over:
                # Where the server is gone, the next writer waits until the turn is over.
                with contextlib.suppress(StoreUnwell):
                    self._http.unregister(lock)

    def _take(self, lock: str, own: str) -> None:
        holder, since, began = "", time.monotonic(), time.monotonic()
        while True:
            try:
                return self._http.register(lock, {TURN_TAG: own})
            except Taken:
                found = self._http.registered(lock)
            seen = (found.tag(TURN_TAG) or "") if found else ""
            if seen == own:
                return None  # The answer of our own try was lost.
            if seen != holder:
                holder, since = seen, time.monotonic()
            elif found is not None and time.monotonic() - since > LEASE:
                self._http.unregister(lock)
            if time.monotonic() - began > 4 * LEASE:
                raise StoreUnwell(f"{self.place}: others change {lock.removesuffix('.changing')}")
            threading.Event().wait(PAUSE)


class _Still:
    """Is the turn still ours? Half of its time is for the request that is under way."""

    def __init__(self, lock: str) -> None:
        self._lock = lock
        self._began = time.monotonic()

    @property
    def over(self) -> bool:
        """May another writer have taken the turn?"""
        return time.monotonic() - self._began >= LEASE

    def __call__(self) -> None:
        """Before each request that writes.

        Raises:
            StoreUnwell: too much of the turn is over.
        """
        if time.monotonic() - self._began > LEASE / 2:
            raise StoreUnwell(f"{self._lock}: the change took too long and is not finished")


def _fitting(document: Aliases) -> str:
    """The document as text of at most MAX_TAG characters."""
    text = document.model_dump_json()
    while len(text) > MAX_TAG and document.history:
        kept = document.history[len(document.history) // 4 + 1 :]
        document = document.model_copy(update={"history": kept})
        text = document.model_dump_json()
    return text


def _now() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
