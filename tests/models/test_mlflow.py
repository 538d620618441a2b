"""What is special about MLflow's registry: its own people, its aliases, its turns, its doors."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import workers.models.mlflow as shelf
from tests.models.stores import Registry, fresh, shipped, why
from tests.models.test_stores import Followed
from workers.errors import ModelError, StoreUnwell
from workers.models.following import ModelEvent
from workers.models.mlflow_http import MlflowHttp
from workers.models.opening import open_store
from workers.models.store import Store
from workers.testing import RealMlflow
from workers.topology import ModelsPlace

THEIRS = """
import json, sys
from mlflow import MlflowClient, artifacts, set_tracking_uri
url, name, folder = sys.argv[1:]
set_tracking_uri(url)
client = MlflowClient()
number = client.search_model_versions(f"name='{name}'")[0].version
champion = client.get_model_version_by_alias(name, "champion")
files = artifacts.download_artifacts(f"models:/{name}@champion", dst_path=folder)
client.set_registered_model_alias(name, "champion", number)
print(json.dumps({"tags": champion.tags, "files": files}))
"""


@pytest.fixture
def registry(mlflow: RealMlflow) -> Registry:
    """The real server."""
    return Registry(mlflow.url)


@pytest.fixture
def http(registry: Registry) -> Iterator[MlflowHttp]:
    """Its endpoints, for what others do."""
    with contextlib.closing(registry.http()) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    """A model of this test's own."""
    return fresh()


@pytest.fixture
def store(registry: Registry, name: str) -> Iterator[Store]:
    """A registry with two versions, registered in the other order, the first the champion."""
    with contextlib.closing(registry.open()) as opened:
        for version in ("2", "1"):
            opened.put(shipped(name, version))
        opened.promote(name, "1", why())
        yield opened


@pytest.mark.slow
def test_mlflows_own_client_reads_and_sets_what_we_do(
    store: Store, mlflow: RealMlflow, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It finds champion, its tags and its files; the alias that it sets is followed."""
    folder = tmp_path_factory.mktemp("theirs")
    followed = Followed(store, name)
    store.promote(name, "2", why())
    done = subprocess.run(
        [str(mlflow.python), "-c", THEIRS, mlflow.url, name, str(folder)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads(done.stdout.decode().splitlines()[-1])
    assert found["tags"]["enrichment.version"] == "2"
    read = {file.name: file.read_bytes() for file in folder.rglob("*.*") if file.is_file()}
    assert read == shipped(name, "2").contents

    assert store.aliases(name).champion == "1"
    assert followed.look() == ("1", None)


@pytest.mark.slow
def test_aliases_set_by_others_are_followed(store: Store, http: MlflowHttp, name: str) -> None:
    """A canary was meant for another challenger; what is no bundle is refused by name."""
    followed = Followed(store, name)
    store.promote(name, "2", why(), alias="challenger")
    store.canary(name, 0.5, why())
    by_name = {v.tag("enrichment.version"): v for v in http.versions(name)}
    http.set_alias(name, "challenger", by_name["1"].version)
    assert (store.aliases(name).challenger, store.aliases(name).canary) == ("1", None)

    http.set_alias(name, "champion", by_name["2"].version)
    assert followed.look() == ("2", None)

    run = http.begin_run(http.experiment("somebody else's"), "no bundle", 0)
    http.add_version(name, f"{run.artifact_uri}/model", run.run_id, {})
    assert store.versions(name) == ("1", "2")
    http.set_alias(name, "champion", "3")
    assert store.aliases(name).champion == "mlflow-3"
    assert followed.look() == ("2", None)
    store.bypass(name, why())
    assert followed.look() == ("2", "a test")
    told = [event for event, _ in followed.told]
    assert told == [ModelEvent.LOADED, ModelEvent.REFUSED, ModelEvent.BYPASSED]


@pytest.mark.slow
def test_a_manifest_is_held_to_the_digest_of_its_push(
    store: Store, registry: Registry, name: str
) -> None:
    """Artifacts can be written over: what is inside them cannot vouch for itself."""
    other = shipped(name, "1").contents["manifest.json"].replace(b'"late"', b'"soon"')
    registry.overwrite(name, "1", "manifest.json", other)
    with pytest.raises(ModelError, match=r"manifest\.json: its SHA-256 is not the registry's"):
        store.bundle(name, "1")


@pytest.mark.slow
def test_the_turn_of_a_writer_that_died_ends(
    store: Store, http: MlflowHttp, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers never wait; a writer waits for its lease, and no longer."""
    http.register(f"{name}.changing", {shelf.TURN_TAG: "somebody who died"})
    monkeypatch.setattr(shelf, "LEASE", 4.0)

    assert store.aliases(name).champion == "1"
    assert store.promote(name, "2", why()).champion == "2"
    assert http.registered(f"{name}.changing") is None
    assert f"{name}.changing" not in store.names()


@pytest.mark.slow
def test_a_long_history_is_cut_to_what_a_tag_takes(
    store: Store, http: MlflowHttp, name: str
) -> None:
    """The oldest go; the document stays readable."""
    for _ in range(8):
        store.bypass(name, why().model_copy(update={"why": "long " * 4000, "did": "bypass"}))
    found = store.aliases(name)
    model = http.registered(name)
    assert model is not None
    assert len(model.tag(shelf.SERVING_TAG) or "") <= shelf.MAX_TAG
    assert found.revision == 9
    assert 0 < len(found.history) < 9


class Doorman(BaseHTTPRequestHandler):
    """Lets nobody in, and notes what they said."""

    seen: list[str]

    def do_GET(self) -> None:
        """Refuse."""
        self.seen.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"error_code": "UNAUTHENTICATED", "message": "hunter2 is wrong"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def door() -> Iterator[tuple[str, list[str]]]:
    """A server that refuses, and the Authorization headers that it saw."""
    seen: list[str] = []
    handler = type("OwnDoorman", (Doorman,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/prefix", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("who", "header"),
    [
        (
            {"basic": {"username": "me", "password": "hunter2"}},
            "Basic " + base64.b64encode(b"me:hunter2").decode(),
        ),
        ({"bearer": {"token": "hunter2"}}, "Bearer hunter2"),
        ({}, ""),
    ],
)
def test_credentials_are_sent_and_never_shown(
    door: tuple[str, list[str]], who: dict[str, object], header: str
) -> None:
    """Not in the topology's own text either."""
    url, seen = door
    place = ModelsPlace.model_validate({"mlflow": {"url": url, **who}})
    with contextlib.closing(open_store(place)) as store, pytest.raises(StoreUnwell) as told:
        store.aliases("anything")
    assert seen == [header]
    assert str(told.value).endswith("401 UNAUTHENTICATED; is `basic` or `bearer` right?")
    assert "hunter2" not in str(told.value) + repr(place)
