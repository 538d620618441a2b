"""A schema registry by Confluent's HTTP API: what it has, and adding to it.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html. Two answers are told
apart with care, because one dead-letters records and the other makes them wait: "there is none"
(404 with the registry's own error code 404xx) and "I am unwell" (everything else that is not the
answer). Errors name registry, path and cause, never credentials or bodies.
"""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError

from workers.contracts.answers import (
    ContextId,
    Given,
    Judgement,
    Mode,
    Refused,
    Stored,
    SubjectVersion,
    denies,
    document,
    fault_of,
    message,
)
from workers.contracts.asking import authorization, base_url
from workers.contracts.exchange import Answer, Http, tls_context
from workers.contracts.subject import Compatibility
from workers.errors import Retry
from workers.topology.contracts import RegistryPlace

MEDIA = "application/vnd.schemaregistry.v1+json"
T = TypeVar("T")


class Registry:
    """Its endpoints. Every call ends within the place's timeout and raises `Retry` when unwell."""

    def __init__(self, place: RegistryPlace) -> None:
        """Nothing is sent yet.

        Raises:
            ContractError: a certificate cannot be loaded.
        """
        self.base = base_url(place)
        self.context = place.context
        self._authorize = authorization(place)
        # Without https nothing is trusted, and no authorities are read.
        secure = place.url.scheme == "https"
        self._http = Http(
            tls_context(place.tls) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=place.timeout,
            max_bytes=place.max_response_bytes,
        )

    @property
    def name(self) -> str:
        """For messages."""
        return f"the registry at {self.base}"

    def close(self) -> None:
        """End the request under way; later ones raise `Retry`."""
        self._http.close()

    def by_id(self, number: int) -> Stored | None:
        """The schema of an id in our context."""
        return self._get(Stored, f"/schemas/ids/{number}", self._in_context())

    def by_guid(self, guid: uuid.UUID) -> Stored | None:
        """The schema of a GUID; registries that know none have no such path."""
        return self._get(Stored, f"/schemas/guids/{guid}")

    def ids_of_guid(self, guid: uuid.UUID) -> tuple[int, ...]:
        """The ids of a GUID in our context."""
        listed = self._get(list[ContextId], f"/schemas/guids/{guid}/ids") or []
        return tuple(entry.id for entry in listed if entry.context.strip(".:") == self.context)

    def places_of(self, number: int) -> tuple[SubjectVersion, ...]:
        """Subjects and versions of an id, deleted ones too: their records may still be read."""
        query = {**self._in_context(), "deleted": "true"}
        listed = self._get(list[SubjectVersion], f"/schemas/ids/{number}/versions", query)
        return tuple(
            SubjectVersion(subject=self._plain(entry.subject), version=entry.version)
            for entry in listed or ()
        )

    def versions(self, subject: str) -> tuple[int, ...]:
        """Version numbers of a subject, ascending; empty where there is no such subject."""
        return tuple(sorted(self._get(list[int], f"{self._subject(subject)}/versions") or ()))

    def version(self, subject: str, number: int) -> Stored | None:
        """One version of a subject."""
        return self._get(Stored, f"{self._subject(subject)}/versions/{number}")

    def find(self, subject: str, body: Mapping[str, Any]) -> Stored | None:
        """The version of a subject that has this very schema."""
        path = self._subject(subject)
        return self._there(Stored, path, self._ask("POST", path, body=body))

    def compatibility(self, subject: str) -> Compatibility | None:
        """A subject's own mode; None where it has none and the registry's default holds."""
        found = self._get(Mode, f"/config/{self._quoted(subject)}")
        return found.mode if found else None

    def set_compatibility(self, subject: str, mode: Compatibility) -> None:
        """Give a subject a mode of its own."""
        path = f"/config/{self._quoted(subject)}"
        self._accepted(Any, path, self._ask("PUT", path, body={"compatibility": mode.value}))

    def judge(self, subject: str, body: Mapping[str, Any]) -> Judgement | None:
        """Would the newest version, under the mode that is set, allow this one? None: no version.

        Raises:
            Refused: it is malformed to the registry.
        """
        path = f"/compatibility{self._subject(subject)}/versions/latest"
        answer = self._ask("POST", path, {"verbose": "true"}, body)
        return None if answer.status == 404 else self._accepted(Judgement, path, answer)

    def register(self, subject: str, body: Mapping[str, Any], *, normalize: bool = False) -> int:
        """Add a version, or find the same; its id.

        Raises:
            Refused: it is incompatible, or malformed to the registry.
        """
        path = f"{self._subject(subject)}/versions"
        query = {"normalize": "true"} if normalize else {}
        return self._accepted(Given, path, self._ask("POST", path, query, body)).id

    def _get(self, kind: type[T], path: str, query: Mapping[str, str] | None = None) -> T | None:
        return self._there(kind, path, self._ask("GET", path, query))

    def _there(self, kind: type[T], path: str, answer: Answer) -> T | None:
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._unwell(path, f"answers {answer.status}")
        return self._content(kind, path, answer)

    def _accepted(self, kind: type[T], path: str, answer: Answer) -> T:
        if answer.status in (400, 404, 409, 422):
            raise Refused(f"{self.name}: {path}: refused: {message(answer)}")
        if answer.status != 200:
            raise self._unwell(path, f"answers {answer.status}")
        return self._content(kind, path, answer)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        answer = self._send(method, path, query, body)
        if answer.status == 404 and not denies(answer) and not self._knows_itself():
            raise self._unwell(path, "answers 404 as no registry does; is the url right?")
        return answer

    def _knows_itself(self) -> bool:
        """Does a registry answer here at all? Else a 404 is some proxy's and proves nothing."""
        answer = self._send("GET", "/config", None, None)
        return answer.status == 200 and isinstance(document(answer), dict)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> Answer:
        url = f"{self.base}{path}" + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode()
        headers = {"Accept": f"{MEDIA}, application/json"}
        if content is not None:
            headers["Content-Type"] = MEDIA
        try:
            if (allowed := self._authorize()) is not None:
                headers["Authorization"] = allowed
            answer = self._http.send(method, url, headers, content)
        except Retry as error:
            raise self._unwell(path, str(error)) from error
        if (fault := fault_of(answer)) is not None:
            raise self._unwell(path, fault)
        return answer

    def _content(self, kind: type[T], path: str, answer: Answer) -> T:
        if "json" not in answer.content_type:
            shown = answer.content_type or "nothing named"
            raise self._unwell(path, f"answers with {shown[:60]} where JSON is due")
        try:
            return TypeAdapter(kind).validate_python(document(answer))
        except (ValidationError, RecursionError) as error:
            raise self._unwell(path, "answers with JSON of another shape") from error

    def _unwell(self, path: str, cause: str) -> Retry:
        return Retry(f"{self.name} does not answer: {path}: {cause}")

    def _in_context(self) -> dict[str, str]:
        return {"subject": f":.{self.context}:"} if self.context else {}

    def _quoted(self, subject: str) -> str:
        qualified = subject
        if self.context and not subject.startswith(":."):
            qualified = f":.{self.context}:{subject}"
        # Dots alone would be taken for steps in the path.
        return quote(qualified, safe="") if subject.strip(".") else "%2E" * len(subject)

    def _subject(self, subject: str) -> str:
        return f"/subjects/{self._quoted(subject)}"

    def _plain(self, subject: str) -> str:
        return subject.removeprefix(f":.{self.context}:") if self.context else subject
