"""A worker's contracts while it runs: every fault of a registry, with a cold and a warm cache."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contracts import stub_registry as moods
from tests.contracts.stub_registry import Entry, Mood, StubRegistry, record
from workers.contracts.cache import DiskCache, cache_folder
from workers.contracts.catalogue import Registered
from workers.contracts.known import MAX_OTHERS, KnownState
from workers.contracts.notes import ContractEvent
from workers.contracts.questions import MAX_KEYS, Denial, Pace, QuestionsState
from workers.contracts.resolver import Resolver
from workers.contracts.schema import parse
from workers.contracts.sources import DirectorySource, registry_source
from workers.errors import ContractError
from workers.topology import user_cache
from workers.topology.contracts import RegistryPlace

INPUT, OUTPUT = "flights-value", "flights.enriched-value"
FIRST = Entry(1, record("Flight", "tail"))
DERIVED = Entry(2, record("FlightEnriched", "tail", "block"))
SECOND = Entry(7, record("Flight", "tail", "origin"))
DERIVED_SECOND = Entry(8, record("FlightEnriched", "tail", "origin", "block"))
QUICK = Pace(refresh=3600, confirm_after=0.01, backoff=0.01, backoff_max=0.02)
EAGER = Pace(refresh=0.02, confirm_after=0.01, backoff=0.01, backoff_max=0.02)
PATIENCE = 20.0
"""Seconds until a test that waits for an event gives up; none waits that long when all is well."""


class Listener:
    """Hears notes and waits for what they bring about."""

    def __init__(self) -> None:
        self.heard: list[tuple[ContractEvent, Mapping[str, object]]] = []
        self._changed = threading.Condition()

    def __call__(self, event: ContractEvent, fields: Mapping[str, object]) -> None:
        with self._changed:
            self.heard.append((event, fields))
            self._changed.notify_all()

    def count(self, event: ContractEvent) -> int:
        return sum(1 for heard, _ in self.heard if heard is event)

    def wait(self, event: ContractEvent, times: int = 1) -> str:
        """The last such event's fields, as text."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.count(event) >= times, PATIENCE)
            return str([fields for heard, fields in self.heard if heard is event][-1])

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for what no note tells of."""
        with self._changed:
            for _ in range(int(PATIENCE / 0.01)):
                if true():
                    return
                self._changed.wait(0.01)
        raise AssertionError("it did not come")


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with StubRegistry() as made:
        made.add(INPUT, 1, FIRST)
        made.add(OUTPUT, 1, DERIVED)
        yield made


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(cache_folder(tmp_path / "cache", "http://registry", ""))


Follow = Callable[..., Resolver]


@pytest.fixture
def follow(stub: StubRegistry, listener: Listener, cache: DiskCache) -> Iterator[Follow]:
    """Resolvers of the stub, not started."""
    made: list[Resolver] = []

    def resolver(pace: Pace = QUICK, timeout: str = "200ms", **settings: Any) -> Resolver:
        place = RegistryPlace.model_validate({"url": stub.url, "timeout": timeout})
        settings = {"cache": cache, "note": listener, "pace": pace, **settings}
        made.append(Resolver(registry_source(place), [INPUT, OUTPUT], **settings))
        return made[-1]

    yield resolver
    for each in made:
        each.close()


def release_second(stub: StubRegistry) -> None:
    """The derived output first, as owners are told to."""
    stub.add(OUTPUT, 2, DERIVED_SECOND)
    stub.add(INPUT, 2, SECOND)


def refused(stub: StubRegistry) -> None:
    stub.stop()


def mood(chosen: Mood) -> Callable[[StubRegistry], None]:
    def change(stub: StubRegistry) -> None:
        stub.mood = chosen

    return change


OUTAGES = [
    pytest.param(refused, "no connection", id="refused"),
    pytest.param(mood(moods.blackhole), "within|in time", id="blackhole"),
    pytest.param(mood(moods.status(500)), "answers 500", id="500"),
    pytest.param(mood(moods.status(429)), "answers 429", id="429"),
    pytest.param(mood(moods.html), "text/html", id="html"),
    pytest.param(mood(moods.bad_json), "another shape", id="bad-json"),
    pytest.param(mood(moods.drip_headers), "within|in time", id="drip-headers"),
    pytest.param(mood(moods.drip_body), "within|in time", id="drip-body"),
]
outages = pytest.mark.parametrize(("fall_ill", "cause"), OUTAGES)


@outages
def test_known_schemas_go_on_and_unknown_ids_wait_through_an_outage(
    stub: StubRegistry,
    follow: Follow,
    listener: Listener,
    fall_ill: Callable[[StubRegistry], None],
    cause: str,
) -> None:
    """Warm: the worker never waits for what it knows; the rest has a named reason, and an end."""
    resolver = follow()
    resolver.start()
    fall_ill(stub)

    resolver.ask([1, 2, 7])
    assert listener.wait(ContractEvent.UNWELL)

    assert resolver.settled(1)
    assert resolver.settled(2)
    assert not resolver.settled(7)
    why = resolver.why(7)
    assert f"registry at {stub.url}" in why
    assert any(part in why for part in cause.split("|"))

    release_second(stub)
    stub.mood = None
    stub.restart()
    listener.wait(ContractEvent.RECOVERED)
    listener.until(lambda: resolver.settled(7))
    assert str(resolver.catalogue.find(7)) == "flights-value version 2"
    assert listener.count(ContractEvent.DENIED) == 0


@outages
def test_a_worker_starts_from_its_cache_in_an_outage(
    stub: StubRegistry,
    follow: Follow,
    listener: Listener,
    fall_ill: Callable[[StubRegistry], None],
    cause: str,
) -> None:
    """A restart does not need the registry; when it is back, what is new is taken."""
    first = follow()
    first.start()
    first.close()
    fall_ill(stub)

    resolver = follow()
    resolver.start()

    assert [str(entry) for entry in resolver.catalogue] == [
        "flights-value version 1",
        "flights.enriched-value version 1",
    ]
    assert resolver.unwell is not None
    assert any(part in resolver.unwell for part in cause.split("|"))
    release_second(stub)
    stub.mood = None
    stub.restart()
    listener.wait(ContractEvent.FOUND)
    assert len(list(resolver.catalogue)) == 4


@outages
def test_a_worker_without_cache_does_not_start_in_an_outage(
    stub: StubRegistry, follow: Follow, fall_ill: Callable[[StubRegistry], None], cause: str
) -> None:
    """And says what was tried, and what to do."""
    fall_ill(stub)
    resolver = follow(timeout="100ms")

    with pytest.raises(ContractError, match=rf"{INPUT}: .*({cause}).*nothing is kept.*again"):
        resolver.start()


def test_a_registry_that_lost_everything_takes_nothing_away(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """404, warm: what is known stays; what is not is denied."""
    resolver = follow(EAGER)
    resolver.start()

    stub.subjects.clear()
    listener.wait(ContractEvent.MISSING)
    resolver.ask([7])
    listener.wait(ContractEvent.DENIED)

    assert len(list(resolver.catalogue)) == 2
    assert resolver.settled(7)
    assert resolver.catalogue.find(7) is None
    assert "has no schema with id 7" in resolver.why(7)


def test_a_worker_starts_from_its_cache_when_the_registry_lost_its_subjects(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """404, warm cache."""
    first = follow()
    first.start()
    first.close()
    stub.mood = moods.denying

    resolver = follow()
    resolver.start()

    assert len(list(resolver.catalogue)) == 2
    assert "has no flights-value" in str(listener.heard)


def test_a_worker_does_not_start_without_its_subjects(stub: StubRegistry, follow: Follow) -> None:
    """404, cold: the remedy is to register them."""
    stub.subjects.pop(OUTPUT)

    with pytest.raises(ContractError, match=rf"{OUTPUT}: the registry at .* has no usable version"):
        follow().start()


def test_a_stale_registry_takes_nothing_away(
    stub: StubRegistry, follow: Follow, listener: Listener, cache: DiskCache
) -> None:
    """A follower behind its leader shows fewer versions than yesterday."""
    release_second(stub)
    first = follow()
    first.start()
    first.close()
    for subject in (INPUT, OUTPUT):
        stub.subjects[subject].pop(2)

    resolver = follow(EAGER)
    resolver.start()
    asked = len(stub.asked)
    listener.until(lambda: len(stub.asked) > asked + 8)

    assert resolver.settled(7)
    assert len(list(resolver.catalogue)) == 4


def test_a_registry_may_restart(stub: StubRegistry, follow: Follow, listener: Listener) -> None:
    """On the same port, with what it had."""
    resolver = follow()
    resolver.start()
    stub.stop()
    resolver.ask([7])
    listener.wait(ContractEvent.UNWELL)

    release_second(stub)
    stub.restart()

    listener.wait(ContractEvent.RECOVERED)
    assert resolver.unwell is None
    assert resolver.settled(7)


def test_an_unknown_id_is_denied_twice_and_asked_for_once(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """Single flight: however many records carry it. One denial may be a follower that lags."""
    resolver = follow()
    resolver.start()

    for _ in range(100):
        resolver.ask([77] * 10)
    listener.wait(ContractEvent.DENIED)
    for _ in range(100):
        resolver.ask([77])

    assert resolver.settled(77)
    assert stub.paths().count("/schemas/ids/77") == 2


def test_one_denial_is_not_enough(stub: StubRegistry, follow: Follow, listener: Listener) -> None:
    """An id that a lagging follower does not know yet is found when it is asked again."""
    denied: list[str] = []

    def lagging(handler: Any) -> None:
        if handler.path == "/schemas/ids/7" and not denied:
            denied.append(handler.path)
            moods.denying(handler)
        else:
            handler.well()

    resolver = follow()
    resolver.start()
    release_second(stub)
    stub.mood = lagging
    resolver.ask([7])
    listener.wait(ContractEvent.FOUND)

    assert denied
    assert resolver.settled(7)
    assert listener.count(ContractEvent.DENIED) == 0


def test_a_denial_is_believed_for_a_while(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """`unknown_for`; then the id is asked for again, and may be there."""
    now = [0.0]
    pace = Pace(refresh=3600, confirm_after=0.0, unknown_for=30, monotonic=lambda: now[0])
    resolver = follow(pace)
    resolver.start()
    resolver.ask([7])
    listener.wait(ContractEvent.DENIED)
    release_second(stub)
    listener.until(lambda: resolver.settled(7))
    now[0] = 29.9
    assert resolver.settled(7)

    now[0] = 30.1
    assert not resolver.settled(7)
    resolver.ask([7])

    listener.wait(ContractEvent.FOUND)
    assert resolver.catalogue.find(7) is not None


def test_a_new_input_comes_together_with_its_derived_output(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """In one catalogue: between the two, events would be written as an older version."""
    resolver = follow()
    resolver.start()
    before = resolver.revision
    release_second(stub)

    resolver.ask([7])
    listener.wait(ContractEvent.FOUND)

    assert resolver.revision == before + 1
    assert list(resolver.catalogue.versions(OUTPUT)) == [1, 2]


def test_new_versions_are_seen_before_a_record_carries_them(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """By the periodic look."""
    resolver = follow(EAGER)
    resolver.start()

    release_second(stub)

    listener.until(lambda: len(list(resolver.catalogue)) == 4)
    assert resolver.settled(7)


def test_a_flood_of_unknown_ids_does_not_hide_new_versions(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """Look-ups and looks at versions take turns."""
    resolver = follow(EAGER)
    resolver.start()
    release_second(stub)

    resolver.ask(range(100, 9000))
    listener.wait(ContractEvent.FOUND)

    assert resolver.settled(7)
    assert not resolver.settled(8999)
    assert "being looked up" in resolver.why(8999)


def test_an_id_of_another_subject_is_named(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """So that the dead letter says whose it is."""
    stub.add("others-value", 3, Entry(9, record("Other", "x")))
    resolver = follow()
    resolver.start()

    resolver.ask([9])
    listener.wait(ContractEvent.FOUND)

    assert "others-value version 3" in resolver.why(9)


def test_an_id_that_no_worker_can_read_is_denied_with_the_reason(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """At once: it is there, so nothing is to be confirmed."""
    stub.add("others-value", 1, Entry(9, "{}", kind="PROTOBUF"))
    resolver = follow()
    resolver.start()

    resolver.ask([9])
    listener.wait(ContractEvent.DENIED)

    assert resolver.settled(9)
    assert "PROTOBUF, not Avro" in resolver.why(9)


@pytest.mark.parametrize("changed", [Entry(1, record("Flight", "other")), Entry(5, FIRST.text)])
def test_a_version_that_changed_is_refused_and_told_once(
    stub: StubRegistry, follow: Follow, listener: Listener, changed: Entry
) -> None:
    """Ids are for ever: the known one stays."""
    resolver = follow(EAGER)
    resolver.start()

    stub.add(INPUT, 1, changed)
    listener.wait(ContractEvent.CHANGED)
    asked = len(stub.asked)
    listener.until(lambda: len(stub.asked) > asked + 8)

    assert listener.count(ContractEvent.CHANGED) == 1
    known = resolver.catalogue.versions(INPUT)[1]
    assert known.id == 1
    assert known.schema.field_names == ("tail",)


def test_an_id_that_was_given_anew_is_refused(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """A version that comes with an id that is taken."""
    resolver = follow(EAGER)
    resolver.start()

    stub.add(INPUT, 2, Entry(1, record("Flight", "tail", "origin")))
    listener.wait(ContractEvent.CHANGED)

    found = resolver.catalogue.find(1)
    assert found is not None
    assert found.version == 1


def test_a_registry_that_was_set_up_anew_stops_the_start(
    stub: StubRegistry, follow: Follow, cache: DiskCache
) -> None:
    """Records of before carry ids that mean something else now."""
    first = follow()
    first.start()
    first.close()
    stub.add(INPUT, 1, Entry(1, record("Flight", "other")))

    with pytest.raises(ContractError, match=f"another schema .* remove {cache.folder}"):
        follow().start()


def test_closing_does_not_wait_for_the_registry(
    stub: StubRegistry, follow: Follow, listener: Listener
) -> None:
    """The request under way is ended; nothing is noted of it."""
    resolver = follow(timeout="600s")
    resolver.start()
    stub.mood = moods.blackhole
    resolver.ask([7])
    assert stub.stuck.wait(PATIENCE)

    resolver.close()

    assert listener.heard == []
    assert "contracts" not in {thread.name for thread in threading.enumerate()}


def test_a_damaged_file_of_the_cache_is_ignored(
    stub: StubRegistry, follow: Follow, listener: Listener, cache: DiskCache
) -> None:
    """Cut, changed or swapped: it is fetched again."""
    first = follow()
    first.start()
    first.close()
    files = sorted(cache.folder.glob("*.json"))
    files[0].write_bytes(files[0].read_bytes()[:50])
    files[1].write_text(files[1].read_text().replace("Flight", "Fright"))

    resolver = follow()
    resolver.start()
    resolver.close()

    assert listener.count(ContractEvent.CACHE) == 2
    assert all(cache.read(subject)[1] == [] for subject in (INPUT, OUTPUT))
    assert len([entry for subject in (INPUT, OUTPUT) for entry in cache.read(subject)[0]]) == 2


def test_a_cache_that_cannot_be_written_costs_one_warning(
    stub: StubRegistry, follow: Follow, listener: Listener, tmp_path: Path
) -> None:
    """A file where the folder should be stands for a disk that is full or read-only."""
    (tmp_path / "taken").write_text("")
    resolver = follow(EAGER, cache=DiskCache(tmp_path / "taken" / "below"))
    resolver.start()

    release_second(stub)
    listener.until(lambda: len(list(resolver.catalogue)) == 4)

    assert listener.count(ContractEvent.CACHE) == 1
    assert "cannot start while its registry is down" in str(listener.heard)


def test_files_of_the_cache_are_whole_and_private(
    stub: StubRegistry, follow: Follow, cache: DiskCache
) -> None:
    """Several processes write the same ones."""
    workers = [follow() for _ in range(3)]
    starts = [threading.Thread(target=worker.start) for worker in workers]
    for start in starts:
        start.start()
    for start in starts:
        start.join()

    assert sorted(path.suffix for path in cache.folder.iterdir()) == [".json", ".json"]
    assert {path.stat().st_mode & 0o777 for path in cache.folder.iterdir()} == {0o600}
    found, warnings = cache.read(INPUT)
    assert warnings == []
    assert [(entry.version, entry.id) for entry in found] == [(1, 1)]


def test_places_of_registries_do_not_meet(tmp_path: Path) -> None:
    """Ids are a registry's and a context's own."""
    places = {
        cache_folder(tmp_path, url, context)
        for url in ("http://a", "http://b")
        for context in ("", "x")
    }

    assert len(places) == 4
    assert cache_folder(tmp_path, "http://a/", "") in places


@pytest.mark.parametrize("home", [None, "", "not/absolute"])
def test_contracts_are_kept_below_the_users_cache(home: str | None, tmp_path: Path) -> None:
    """By the XDG Base Directory Specification."""
    below = Path("enrichment-workers") / "contracts"

    assert user_cache({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / below
    env = {} if home is None else {"XDG_CACHE_HOME": home}
    assert user_cache(env) == Path.home() / ".cache" / below


def test_what_is_held_of_unknown_ids_is_bounded() -> None:
    """A producer of nonsense must not fill the memory."""
    questions = QuestionsState()
    for key in range(MAX_KEYS + 10):
        questions.ask(key, 0.0)
    assert len(questions.open) == MAX_KEYS

    for key in range(MAX_KEYS + 10):
        questions.deny(key, Denial(1.0, "no"))
    assert (len(questions.open), len(questions.denied)) == (0, MAX_KEYS)


def test_denials_hold_while_others_are_looked_up() -> None:
    """Else a batch of many unknown ids would never be settled as a whole."""
    questions = QuestionsState()
    questions.deny(5, Denial(30.0, "no"))
    questions.ask(6, 0.0)

    assert questions.holds(5, 31.0, 30.0)
    assert not questions.holds(5, 151.0, 30.0)
    questions.deny(6, Denial(30.0, "no"))
    assert not questions.holds(5, 31.0, 30.0)


def test_schemas_of_others_are_bounded_and_ours_stay() -> None:
    """Whatever ids records carry."""
    known = KnownState([INPUT])
    schema = parse(FIRST.text, where="a test")
    known.take([Registered(INPUT, 1, 1, schema)])

    known.take(Registered(f"others-{number}", 1, None, schema) for number in range(MAX_OTHERS + 9))

    assert len(list(known.catalogue())) == MAX_OTHERS + 1
    assert known.has(INPUT)


def _write(root: Path, versions: Mapping[int, Entry]) -> None:
    folder = root / "flights"
    folder.mkdir(parents=True, exist_ok=True)
    for version, entry in versions.items():
        (folder / f"v{version}.avsc").write_text(entry.text)
    about = {
        "subject": INPUT,
        "topic": "flights",
        "role": "input",
        "owner": "a@example.org",
        "description": "Flights.",
        "versions": {version: {"id": entry.id} for version, entry in versions.items()},
    }
    (folder / "subject.yaml").write_text(json.dumps(about))


def test_a_directory_is_followed_as_a_registry_is(tmp_path: Path, listener: Listener) -> None:
    """Broken for a while, as between two writes of an editor: unwell, and then well again."""
    _write(tmp_path, {1: FIRST})
    resolver = Resolver(DirectorySource(tmp_path), [INPUT], pace=EAGER, note=listener)
    resolver.start()
    try:
        (tmp_path / "flights" / "subject.yaml").write_text("{")
        assert "cannot be read" in listener.wait(ContractEvent.UNWELL)
        assert resolver.settled(1)

        _write(tmp_path, {1: FIRST, 2: SECOND})
        listener.wait(ContractEvent.RECOVERED)
        listener.until(lambda: resolver.settled(7))

        resolver.ask([99])
        assert "has no schema with id 99" in listener.wait(ContractEvent.DENIED)
    finally:
        resolver.close()


def test_a_directory_is_read_only_when_it_changed(tmp_path: Path) -> None:
    """A look costs a few calls of stat."""
    _write(tmp_path, {1: FIRST})
    source = DirectorySource(tmp_path)
    first = source.versions(INPUT)[0]

    assert source.versions(INPUT)[0] is first
    _write(tmp_path, {1: FIRST, 2: SECOND})
    assert [entry.id for entry in source.versions(INPUT)] == [1, 7]
    assert [entry.version for entry in source.lookup(7)] == [2]
