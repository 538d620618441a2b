"""What every kind of store promises: the same tests for a directory, objects and MLflow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.models.stores import Directory, Interrupted, Kind, Registry, digests, fresh, shipped, why
from workers.errors import ModelError
from workers.models.following import Follower, ModelEvent
from workers.models.model import Model
from workers.models.store import Store


@pytest.fixture
def name() -> str:
    """A model of this test's own."""
    return fresh()


@pytest.fixture
def store(kind: Kind, name: str) -> Iterator[Store]:
    """A store with three versions of the model."""
    with contextlib.closing(kind.open()) as opened:
        for version in ("1", "2", "10"):
            opened.put(shipped(name, version))
        yield opened


def test_what_was_put_is_read_byte_for_byte(store: Store, kind: Kind, name: str) -> None:
    """By another process too; versions are listed by value."""
    with contextlib.closing(kind.open()) as other:
        assert digests(other.fetch(name, "2")) == digests(shipped(name, "2"))
        assert other.bundle(name, "2").booster == shipped(name, "2").bundle.booster
        assert other.versions(name) == store.versions(name) == ("1", "2", "10")
        assert name in other.names()


def test_a_version_is_never_written_over(store: Store, name: str) -> None:
    """Not even by itself, and not through the shelf's own door."""
    for version in ("1", "10"):
        with pytest.raises(ModelError, match="a version never changes"):
            store.put(shipped(name, version))
    assert store.versions(name) == ("1", "2", "10")


def test_an_interrupted_push_leaves_no_version_and_can_be_repeated(
    store: Store, kind: Kind, name: str
) -> None:
    """Whatever was written before the manifest is not a version."""
    shelf = kind.interrupting()
    with contextlib.closing(Store(shelf)) as broken, pytest.raises((Interrupted, ModelError)):
        broken.put(shipped(name, "11"))
    assert store.versions(name) == ("1", "2", "10")
    with pytest.raises(ModelError, match="11"):
        store.fetch(name, "11")

    store.put(shipped(name, "11"))

    assert digests(store.fetch(name, "11")) == digests(shipped(name, "11"))


def test_damaged_files_are_refused(store: Store, kind: Kind, name: str) -> None:
    """Of the size that was declared, and larger; the error names the file."""
    good = shipped(name, "1").contents["model.txt"]
    kind.overwrite(name, "1", "model.txt", good.replace(b"0", b"1"))
    with pytest.raises(ModelError, match=r"model\.txt: its SHA-256"):
        store.bundle(name, "1")

    kind.overwrite(name, "1", "model.txt", good + b" " * 100_000)
    with pytest.raises(ModelError, match=r"model\.txt: .*(more than|larger than)"):
        store.bundle(name, "1")

    kind.overwrite(name, "1", "manifest.json", b"{")
    with pytest.raises(ModelError, match=r"manifest\.json"):
        store.bundle(name, "1")


def test_what_is_not_there_is_named(store: Store, name: str) -> None:
    """No version, no model, nothing to go back to; nothing changes."""
    store.promote(name, "1", why())
    with pytest.raises(ModelError, match="no version 3"):
        store.promote(name, "3", why())
    with pytest.raises(ModelError, match="no model nobody"):
        store.bypass("nobody", why())
    with pytest.raises(ModelError, match="no previous"):
        store.rollback(name, why())
    with pytest.raises(ModelError, match=r"'\.\./other' is no name"):
        store.bundle(name, "../other")
    with pytest.raises(ModelError, match=r"\b3\b"):
        store.bundle(name, "3")
    assert store.aliases(name).revision == 1
    assert store.aliases("nobody").champion is None


def test_promotion_rollback_bypass_and_canary_are_seen_by_others(
    store: Store, kind: Kind, name: str
) -> None:
    """Each with its reason in the history, and going back twice is where it was."""
    with contextlib.closing(kind.open()) as other:
        store.promote(name, "1", why())
        store.promote(name, "2", why())
        store.promote(name, "10", why(), alias="challenger")
        store.canary(name, 0.25, why("canary"))
        seen = other.aliases(name)
        assert (seen.champion, seen.previous, seen.challenger) == ("2", "1", "10")
        assert seen.canary is not None
        assert seen.canary.share == 0.25

        other.rollback(name, why("rollback"))
        back = store.aliases(name)
        assert (back.champion, back.previous, back.canary) == ("1", "2", None)
        other.promote(name, "10", why())
        promoted = store.aliases(name)
        assert (promoted.champion, promoted.previous, promoted.challenger) == ("10", "1", None)

        assert store.bypass(name, why("bypass")).bypass == other.aliases(name).bypass != None  # noqa: E711
        assert other.resume(name, why("resume")).bypass is None
        last = store.aliases(name)
    assert last.revision == 8
    assert [entry.did for entry in last.history[-4:]] == ["rollback", "promote", "bypass", "resume"]


def test_changes_at_once_are_all_kept(store: Store, kind: Kind, name: str) -> None:
    """Writers and readers together: none overwrites another's, a reader sees whole documents."""
    writers, changes = (2, 3) if isinstance(kind, Registry) else (6, 8)
    faults: list[Exception] = []

    def write(version: str) -> None:
        try:
            for _ in range(changes):
                made = store.promote(name, version, why())
                assert store.aliases(name).revision >= made.revision
        except Exception as error:  # noqa: BLE001  shown by the test's own thread
            faults.append(error)

    threads = [
        threading.Thread(target=write, args=("12"[number % 2],)) for number in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert store.aliases(name).revision == len(store.aliases(name).history) == writers * changes


def test_a_damaged_document_is_an_error_and_no_empty_one(
    store: Store, kind: Kind, name: str
) -> None:
    """Nothing is read from it and nothing written over it."""
    store.promote(name, "1", why())
    kind.break_document(name)

    for _ in range(2):
        with pytest.raises(ModelError, match=name):
            store.aliases(name)
        with pytest.raises(ModelError, match=name):
            store.bypass(name, why())


class Followed:
    """A follower, what it told, and its looks by hand."""

    def __init__(self, store: Store, name: str, worker: str = "") -> None:
        self.told: list[tuple[ModelEvent, Mapping[str, object]]] = []
        self.follower = Follower(
            store=store,
            name=name,
            alias="champion",
            began=Model(store.bundle(name, "1")),
            load=lambda version: Model(store.bundle(name, version)),
            poll=3600,
            note=lambda event, fields: self.told.append((event, fields)),
            worker=worker,
        )

    def paused(self) -> tuple[int, ...] | None:
        """Partitions of its worker's pause."""
        found = self.follower.pause
        return None if found is None else found.partitions

    def look(self) -> tuple[str, str | None]:
        """Version and bypass after a look."""
        self.follower.look()
        serving = self.follower.serving
        return serving.model.manifest.version, serving.bypass


def test_a_follower_serves_what_the_store_says(store: Store, name: str) -> None:
    """Promotion, rollback, bypass and the end of it."""
    store.promote(name, "1", why())
    followed = Followed(store, name)
    assert followed.look() == ("1", None)
    store.promote(name, "2", why())
    assert followed.look() == ("2", None)
    store.rollback(name, why())
    assert followed.look() == ("1", None)
    store.bypass(name, why())
    assert followed.look() == ("1", "a test")
    store.resume(name, why())
    assert followed.look() == ("1", None)
    assert [event for event, _ in followed.told] == [
        ModelEvent.LOADED,
        ModelEvent.LOADED,
        ModelEvent.BYPASSED,
        ModelEvent.RESUMED,
    ]


def test_a_bypass_does_not_wait_for_a_version_that_takes_long_to_prove(tmp_path: Path) -> None:
    """And a version that was taken back while it was proven never serves."""
    store = Directory(tmp_path).open()
    for version in ("1", "2"):
        store.put(shipped("slow", version))
    store.promote("slow", "1", why())
    asked, proven = threading.Event(), threading.Event()

    def load(version: str) -> Model:
        asked.set()
        assert proven.wait(60)
        return Model(store.bundle("slow", version))

    told: list[ModelEvent] = []
    follower = Follower(
        store=store,
        name="slow",
        alias="champion",
        began=Model(store.bundle("slow", "1")),
        load=load,
        poll=0.02,
        note=lambda event, _: told.append(event),
    )
    follower.start()
    try:
        store.promote("slow", "2", why())
        assert asked.wait(60)

        store.bypass("slow", why())
        until(lambda: follower.serving.bypass == "a test")
        store.rollback("slow", why())
        store.resume("slow", why())
        until(lambda: follower.serving.bypass is None)
        proven.set()
        until(lambda: "loader" not in {thread.name for thread in threading.enumerate()})

        assert follower.serving.model.manifest.version == "1"
        assert told == [ModelEvent.BYPASSED, ModelEvent.RESUMED]
        store.promote("slow", "2", why())
        until(lambda: follower.serving.model.manifest.version == "2")
    finally:
        proven.set()
        follower.close()


def until(condition: Callable[[], bool]) -> None:
    """Sooner or later."""
    pause = threading.Event()
    for _ in range(1200):
        if condition():
            return
        pause.wait(0.05)
    raise TimeoutError("it never came true")


def test_what_fails_its_checks_never_replaces_what_serves(
    store: Store, kind: Kind, name: str
) -> None:
    """A damaged version and a damaged document are told once each; the model goes on."""
    store.promote(name, "1", why())
    followed = Followed(store, name)
    kind.overwrite(name, "1", "golden.json", b"{}")
    store.put(shipped(name, "9"))
    store.promote(name, "10", why())
    assert followed.look() == ("10", None)
    store.promote(name, "1", why())
    assert followed.look() == ("10", None)
    kind.break_document(name)
    assert followed.look() == followed.look() == ("10", None)
    assert [event for event, _ in followed.told] == [
        ModelEvent.LOADED,
        ModelEvent.REFUSED,
        ModelEvent.STORE_UNWELL,
    ]


def test_a_pause_of_a_worker_is_in_its_models_document(store: Store, name: str) -> None:
    """Partitions add up; who, when and why are kept; the follower of that worker has it."""
    store.promote(name, "1", why())
    followed = Followed(store, name, worker="one")
    store.pause(name, "one", [3, 1], why())
    store.pause(name, "one", [2], why())
    store.pause(name, "other", [], why())
    followed.look()
    assert followed.paused() == (1, 2, 3)
    said = store.aliases(name).pauses["one"]
    assert (said.who, said.why, said.since) == (why().who, why().why, why().when)
    store.unpause(name, "one", [1, 3], why())
    followed.look()
    assert followed.paused() == (2,)
    store.pause(name, "one", [], why())
    store.pause(name, "one", [5], why())
    assert store.aliases(name).pauses["one"].partitions == ()
    with pytest.raises(ModelError, match="paused as a whole"):
        store.unpause(name, "one", [5], why())
    store.unpause(name, "one", [], why())
    followed.look()
    assert followed.paused() is None
    assert store.aliases(name).pauses.keys() == {"other"}
    with pytest.raises(ModelError, match="is not paused"):
        store.unpause(name, "one", [], why())
    assert len(store.aliases(name).history) == 8
