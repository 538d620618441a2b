"""MLflow's REST API, as far as bundles need it: registered models, versions, runs, artifacts.

https://mlflow.org/docs/latest/api_reference/rest-api.html. A client of our own, because
mlflow-skinny brings two dozen packages and holds back others (cachetools, protobuf). Errors name
server, path and cause, never credentials or bodies.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError

from workers.contracts.asking import authorization, base_url
from workers.contracts.exchange import Answer, Http, TooLarge, tls_context
from workers.errors import ContractError, ModelError, Retry, StoreUnwell
from workers.models.mlflow_answers import (
    ExperimentAnswer,
    Nothing,
    Registered,
    RegisteredAnswer,
    RunAnswer,
    RunInfo,
    Version,
    VersionAnswer,
    VersionsAnswer,
)
from workers.topology import MlflowPlace

MAX_ANSWER = 32 * 1024**2
MAX_PAGES = 100
NOT_THERE = "RESOURCE_DOES_NOT_EXIST"
TAKEN = "RESOURCE_ALREADY_EXISTS"
_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


T = TypeVar("T", bound=BaseModel)


class Taken(ModelError):  # noqa: N818  what there is, not what went wrong
    """What was to be made is there already."""


class MlflowHttp:
    """The server's endpoints. Every call ends within its time; `StoreUnwell` where unwell."""

    def __init__(self, place: MlflowPlace, *, timeout: float, transfer: float) -> None:
        """Nothing is sent yet.

        Raises:
            ModelError: a certificate cannot be loaded.
        """
        self.base = base_url(place)
        self._transfer = transfer
        self._authorize = authorization(place)
        try:
            # Without https nothing is trusted, and no authorities are read.
            tls = (
                tls_context(place.tls, "models.mlflow")
                if place.url.scheme == "https"
                else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
        except ContractError as error:
            raise ModelError(str(error)) from error
        self._http = Http(tls, timeout=timeout, max_bytes=MAX_ANSWER)

    @property
    def name(self) -> str:
        """For messages."""
        return f"the MLflow registry at {self.base}"

    def close(self) -> None:
        """End the request under way; later ones raise `StoreUnwell`."""
        self._http.close()

    def registered(self, name: str) -> Registered | None:
        """A registered model; None where there is none."""
        found = self._get(RegisteredAnswer, "/registered-models/get", {"name": name})
        return found.registered_model if found else None

    def register(self, name: str, tags: Mapping[str, str]) -> None:
        """Make a registered model.

        Raises:
            Taken: there is one of that name.
        """
        path = "/registered-models/create"
        answer = self._ask("POST", path, {"name": name, "tags": _tags(tags)})
        if _code(answer) == NOT_THERE:
            # There was one, which went while MLflow looked for it to say so.
            raise Taken(f"{self.name}: {path}: it was there a moment ago")
        self._answered(RegisteredAnswer, path, answer)

    def unregister(self, name: str) -> None:
        """Remove a registered model; one that is gone is none to remove."""
        self._delete("/registered-models/delete", name=name)

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Write a tag of a registered model, in one step."""
        self._post(Nothing, "/registered-models/set-tag", name=name, key=key, value=value)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version, by MLflow's number."""
        self._post(Nothing, "/registered-models/alias", name=name, alias=alias, version=version)

    def unset_alias(self, name: str, alias: str) -> None:
        """Remove an alias; one that is gone is none to remove."""
        self._delete("/registered-models/alias", name=name, alias=alias)

    def version(self, name: str, number: str) -> Version | None:
        """A version by MLflow's number."""
        query = {"name": name, "version": number}
        found = self._get(VersionAnswer, "/model-versions/get", query)
        return found.model_version if found else None

    def versions(self, name: str | None = None) -> Iterator[Version]:
        """Versions of a model, or of all.

        Raises:
            StoreUnwell: the list has no end.
        """
        token = ""
        for _ in range(MAX_PAGES):
            query = {"filter": f"name='{name}'"} if name else {}
            query |= {"max_results": "1000"} | ({"page_token": token} if token else {})
            found = self._get(VersionsAnswer, "/model-versions/search", query)
            yield from found.model_versions if found else ()
            token = found.next_page_token if found else ""
            if not token:
                return
        raise StoreUnwell(f"{self.name}: over {MAX_PAGES} pages of versions")

    def add_version(self, name: str, source: str, run: str, tags: Mapping[str, str]) -> None:
        """Add a version whose files lie below `source`, artifacts of `run`."""
        path = "/model-versions/create"
        self._post(VersionAnswer, path, name=name, source=source, run_id=run, tags=_tags(tags))

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is made where it is not there."""
        with contextlib.suppress(Taken):
            self._post(Nothing, "/experiments/create", name=name)
        found = self._get(ExperimentAnswer, "/experiments/get-by-name", {"experiment_name": name})
        if found is None:
            raise ModelError(f"{self.name}: experiment {name} is deleted; name another")
        return found.experiment.experiment_id

    def begin_run(self, experiment: str, title: str, at: int) -> RunInfo:
        """Begin a run, at milliseconds since 1970."""
        path = "/runs/create"
        made = self._post(RunAnswer, path, experiment_id=experiment, run_name=title, start_time=at)
        return made.run.info

    def end_run(self, run: str, at: int) -> None:
        """A run is finished."""
        self._post(Nothing, "/runs/update", run_id=run, status="FINISHED", end_time=at)

    def upload(self, path: str, content: bytes) -> None:
        """Write an artifact at a path below the server's root."""
        where, room = f"{_ARTIFACTS}/{quote(path)}", (self._transfer, MAX_ANSWER)
        answer = self._send("PUT", where, content, "application/octet-stream", room)
        self._answered(Nothing, where, answer)

    def download(self, path: str, limit: int) -> bytes:
        """The bytes of an artifact.

        Raises:
            ModelError: there is none, or it is larger than `limit`.
        """
        where = f"{_ARTIFACTS}/{quote(path)}"
        answer = self._send("GET", where, room=(self._transfer, limit))
        if answer.status == 404:
            raise ModelError(f"{self.name}: {path}: there is no such file")
        if answer.status != 200:
            raise self._unwell(where, answer)
        return answer.body

    def _get(self, kind: type[T], path: str, query: Mapping[str, str]) -> T | None:
        answer = self._send("GET", f"{_API}{path}?{urlencode(query)}")
        if answer.status == 404 and _code(answer) == NOT_THERE:
            return None
        return self._answered(kind, path, answer)

    def _post(self, kind: type[T], path: str, **body: Any) -> T:
        return self._answered(kind, path, self._ask("POST", path, body))

    def _delete(self, path: str, **body: Any) -> None:
        answer = self._ask("DELETE", path, body)
        if _code(answer) != NOT_THERE:
            self._answered(Nothing, path, answer)

    def _ask(self, method: str, path: str, body: Mapping[str, Any]) -> Answer:
        content = json.dumps(body).encode()
        return self._send(method, f"{_API}{path}", content, "application/json")

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        kind: str = "",
        room: tuple[float, int] | None = None,
    ) -> Answer:
        headers = {"Content-Type": kind} if kind else {}
        try:
            if (who := self._authorize()) is not None:
                headers["Authorization"] = who
            return self._http.send(method, f"{self.base}{path}", headers, content, room=room)
        except TooLarge as error:
            raise ModelError(f"{self.name}: {_bare(path)}: {error}") from error
        except Retry as error:
            raise StoreUnwell(f"{self.name}: {_bare(path)}: {error}") from error

    def _answered(self, kind: type[T], path: str, answer: Answer) -> T:
        if _code(answer) == TAKEN:
            raise Taken(f"{self.name}: {_bare(path)}: it is there already")
        if answer.status != 200:
            raise self._unwell(path, answer)
        try:
            return kind.model_validate_json(answer.body or b"{}")
        except ValidationError as error:
            raise StoreUnwell(f"{self.name}: {_bare(path)}: the answer is not MLflow's") from error

    def _unwell(self, path: str, answer: Answer) -> StoreUnwell:
        hints = {
            401: "; is `basic` or `bearer` right?",
            403: "; may this user do that?",
            503: "; does it serve artifacts?" if path.startswith(_ARTIFACTS) else "",
        }
        code = _code(answer)
        said = f"{answer.status}{f' {code}' if code else ''}{hints.get(answer.status, '')}"
        return StoreUnwell(f"{self.name}: {_bare(path)}: answers {said}")


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _code(answer: Answer) -> str:
    """MLflow's own name of an error; empty for none."""
    if answer.status == 200:
        return ""
    try:
        found = json.loads(answer.body)
    except ValueError:
        return ""
    code = found.get("error_code") if isinstance(found, dict) else None
    return code if isinstance(code, str) and code.isascii() and len(code) < 64 else ""


def _bare(path: str) -> str:
    return path.partition("?")[0]
