"""A store that is down or hangs: what serves goes on, a start is bounded, a cache helps it."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.conftest import ROOT
from tests.models.stores import DEMO, Memory, Registry, shipped, why
from tests.models.test_stores import Followed
from workers.errors import ModelError, StoreUnwell
from workers.models.following import Follower, ModelEvent
from workers.models.kept import KEEP, KeptStore
from workers.models.local import LocalShelf
from workers.models.model import Model
from workers.models.objects import Objects, ObjectShelf
from workers.models.opening import open_store
from workers.models.store import Store
from workers.testing import RealMlflow
from workers.topology import ModelsPlace, Topology
from workers.wiring import build_enricher, pick


class Moody(MemoryFileSystem):  # type: ignore[misc]
    """A file system that hangs, or fails, when told to."""

    cachable = False

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)
        self.hangs = threading.Event()
        self.fails: Exception | None = None
        self.released = threading.Event()

    def _mood(self) -> None:
        if self.fails is not None:
            raise self.fails
        if self.hangs.is_set():
            self.released.wait()

    def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
        """As the mood is."""
        self._mood()
        return super().ls(path, detail=detail, **more)

    def info(self, path: str, **more: Any) -> Any:
        """As the mood is."""
        self._mood()
        return super().info(path, **more)


@pytest.fixture
def system() -> Iterator[Moody]:
    """Its threads end with the test."""
    made = Moody()
    yield made
    made.released.set()


@pytest.fixture
def objects(system: Moody) -> ObjectShelf:
    """A shelf that waits half a second."""
    place = Objects(system, "moody://here", timeout=0.5, transfer=0.5, secrets=("hunter2",))
    return ObjectShelf(place, f"/moody-{uuid.uuid4().hex[:12]}", writes=True)


@pytest.fixture
def stored(objects: ObjectShelf) -> Store:
    """Two versions, the first the champion."""
    store = Store(objects)
    for version in ("1", "2"):
        store.put(shipped(DEMO, version))
    store.promote(DEMO, "1", why())
    return store


def test_a_store_that_hangs_is_given_up_and_asked_again(stored: Store, system: Moody) -> None:
    """The follower goes on and tells once; when the store answers again, it catches up."""
    followed = Followed(stored, DEMO)
    system.hangs.set()
    assert followed.look() == followed.look() == ("1", None)
    with pytest.raises(StoreUnwell, match=r"moody://here: no answer within 0\.5 s"):
        stored.aliases(DEMO)

    for _ in range(4):
        with pytest.raises(StoreUnwell, match=r"still hang|no answer"):
            stored.aliases(DEMO)
    with pytest.raises(StoreUnwell, match="earlier requests still hang"):
        stored.aliases(DEMO)

    system.hangs.clear()
    system.released.set()
    deadline = time.monotonic() + 10
    while followed.told[-1][0] is ModelEvent.STORE_UNWELL and time.monotonic() < deadline:
        with contextlib.suppress(ModelError):
            stored.bypass(DEMO, why())
        followed.look()
    assert followed.follower.serving.bypass == "a test"
    assert [event for event, _ in followed.told] == [ModelEvent.STORE_UNWELL, ModelEvent.BYPASSED]


def test_errors_of_a_backend_are_told_without_its_secrets(stored: Store, system: Moody) -> None:
    """Type and text, on one line."""
    system.fails = RuntimeError("key hunter2 is wrong\nand much more")
    with pytest.raises(StoreUnwell) as told:
        stored.aliases(DEMO)
    assert str(told.value) == "moody://here: RuntimeError: key *** is wrong"


def test_a_store_that_writes_over_objects_changes_nothing(stored: Store, system: Moody) -> None:
    """A server that ignores If-None-Match could lose a change: it is found out before one."""

    def careless(path: str, value: bytes, mode: str = "overwrite") -> None:
        MemoryFileSystem.pipe_file(system, path, value)

    before = stored.aliases(DEMO)
    system.pipe_file = careless
    with pytest.raises(ModelError, match="writes over objects that it was told to create"):
        stored.promote(DEMO, "2", why())
    assert stored.aliases(DEMO) == before


def test_an_answer_that_was_lost_is_no_second_change(stored: Store, system: Moody) -> None:
    """The object was written, the client asked again and was refused: a rollback is done once."""

    def twice(path: str, value: bytes, mode: str = "overwrite") -> None:
        MemoryFileSystem.pipe_file(system, path, value, mode=mode)
        MemoryFileSystem.pipe_file(system, path, value, mode=mode)

    stored.promote(DEMO, "2", why())
    system.pipe_file = twice
    back = stored.rollback(DEMO, why("rollback"))
    assert (back.champion, back.previous, back.revision) == ("1", "2", 3)
    assert stored.aliases(DEMO) == back


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://bucket/models", "pip install s3fs"),
        ("gs://bucket/models", "pip install gcsfs"),
        ("abfs://container@account/models", "pip install adlfs"),
        ("nowhere://at/all", "fsspec cannot open it"),
    ],
)
def test_what_to_install_is_named(url: str, said: str) -> None:
    """Backends are the user's own to install; none is among our dependencies."""
    with pytest.raises(ModelError, match=said):
        open_store(ModelsPlace(url=url))


def test_a_kind_that_cannot_refuse_is_only_read(tmp_path: Path) -> None:
    """It says which can."""
    place = Objects(MemoryFileSystem(), "sftp://host/x", timeout=5, transfer=5, secrets=())
    store = Store(ObjectShelf(place, f"/{uuid.uuid4().hex}", writes=False))
    with pytest.raises(ModelError, match=r"only read.* s3"):
        store.put(shipped(DEMO, "1"))


class Down(LocalShelf):
    """A directory whose disk can fail."""

    down = False

    def aliases(self, name: str) -> Any:
        """As the disk is."""
        if self.down:
            raise StoreUnwell("the disk is gone")
        return super().aliases(name)

    def files(self, name: str, version: str) -> Any:
        """As the disk is."""
        if self.down:
            raise StoreUnwell("the disk is gone")
        return super().files(name, version)


def kept(shelf: Down, folder: Path) -> tuple[KeptStore, list[str]]:
    """A store with a cache, and what could not be kept."""
    told: list[str] = []
    return KeptStore(shelf, folder, told.append), told


def test_a_start_while_the_store_is_down_takes_what_was_proven_last(tmp_path: Path) -> None:
    """Not what was promoted and never proven; and a bypass that was on still is."""
    shelf = Down(tmp_path / "models")
    origin = Store(shelf)
    for version in ("1", "2"):
        origin.put(shipped(DEMO, version))
    origin.promote(DEMO, "1", why())
    store, told = kept(shelf, tmp_path / "cache")
    store.proven(store.fetch(DEMO, "1"), "champion")
    origin.promote(DEMO, "2", why())
    origin.bypass(DEMO, why())
    store.aliases(DEMO)
    shelf.down = True

    again, told_again = kept(shelf, tmp_path / "cache")
    with pytest.raises(StoreUnwell):
        again.aliases(DEMO)
    assert again.served(DEMO, "champion") == "1"
    assert again.fetch(DEMO, "1").contents == shipped(DEMO, "1").contents
    with pytest.raises(StoreUnwell):
        again.served(DEMO, "challenger")
    with pytest.raises(StoreUnwell):
        again.fetch(DEMO, "2")
    events: list[tuple[ModelEvent, Mapping[str, object]]] = []
    follower = Follower(
        store=again,
        name=DEMO,
        alias="champion",
        began=Model(again.fetch(DEMO, "1").bundle),
        load=lambda version: Model(again.fetch(DEMO, version).bundle),
        poll=3600,
        note=lambda event, fields: events.append((event, fields)),
    )
    follower.start()
    follower.close()
    assert follower.serving.bypass == "a test"
    assert [event for event, _ in events] == [ModelEvent.STORE_UNWELL, ModelEvent.BYPASSED]
    assert told == told_again == []


def test_the_cache_stays_small_and_repairs_itself(tmp_path: Path) -> None:
    """The newest versions and those that aliases stand for; a damaged one is written anew."""
    shelf = Down(tmp_path / "models")
    origin = Store(shelf)
    store, told = kept(shelf, tmp_path / "cache")
    for number in range(1, KEEP + 4):
        origin.put(shipped(DEMO, str(number)))
        store.proven(store.fetch(DEMO, str(number)), "champion" if number == 1 else None)
        manifest = tmp_path / "cache" / DEMO / str(number) / "manifest.json"
        # Versions are as old as their numbers say.
        os.utime(manifest, (number, number))
    cache = Store(tmp_path / "cache")
    assert cache.versions(DEMO) == ("1", *(str(n) for n in range(4, KEEP + 4)))

    (tmp_path / "cache" / DEMO / "5" / "model.txt").write_text("damaged")
    store.proven(store.fetch(DEMO, "5"), None)
    assert cache.fetch(DEMO, "5").contents == shipped(DEMO, "5").contents

    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("in the way")
    store.proven(store.fetch(DEMO, "1"), "champion")
    assert "is not kept" in told[0]


def place_of(topology: Topology, models: Mapping[str, Any]) -> Topology:
    """The demo's topology with other models, its worker serving the champion."""
    worker = pick(topology, None)
    ref = worker.model.model_copy(update={"version": None, "alias": "champion"})
    served = worker.model_copy(update={"model": ref})
    place = ModelsPlace.model_validate(models)
    return topology.model_copy(update={"models": place, "workers": {worker.name: served}})


@pytest.mark.slow
def test_a_worker_starts_while_its_registry_is_down_if_it_has_a_cache(
    topology: Topology, tmp_path: Path, mlflow: RealMlflow
) -> None:
    """The real registry, stopped in its tracks: connections are accepted and nothing answers."""
    registry = Registry(mlflow.url, timeout="10s")
    with contextlib.closing(registry.open()) as store:
        if DEMO not in store.names():
            store.put(Store(ROOT / "models").fetch(DEMO, "1"))
        store.promote(DEMO, "1", why())
    plain = place_of(topology, registry.models)
    cached = place_of(topology, {**registry.models, "cache": str(tmp_path / "cache")})
    build_enricher(cached, pick(cached, None))

    mlflow.pause()
    try:
        again = build_enricher(cached, pick(cached, None))
        with pytest.raises(StoreUnwell, match=r"MLflow registry at .*: no whole answer"):
            build_enricher(plain, pick(plain, None))
    finally:
        mlflow.resume()

    assert again.servings[0].model.manifest.version == "1"


def test_a_cache_that_cannot_be_written_stops_the_start(topology: Topology, tmp_path: Path) -> None:
    """Later it would be too late to say so."""
    memory = Memory(f"memory://store-{uuid.uuid4().hex[:12]}/models")
    store = memory.open()
    store.put(Store(ROOT / "models").fetch(DEMO, "1"))
    store.promote(DEMO, "1", why())
    (tmp_path / "cache").write_text("in the way")
    wrong = place_of(topology, {**memory.models, "cache": str(tmp_path / "cache")})
    with pytest.raises(ModelError, match=r"models\.cache: .*not kept"):
        build_enricher(wrong, pick(wrong, None))
