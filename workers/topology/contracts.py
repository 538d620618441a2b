"""Where contracts come from: files of this repository, a registry, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import DirectoryPath, Field, FilePath, HttpUrl, SecretStr, model_validator

from workers.topology.security import Part, Tls
from workers.topology.units import Duration, Size


class BasicAuth(Part):
    """User and password, HTTP Basic."""

    username: str = Field(description="Who asks.")
    password: SecretStr | None = Field(default=None, description="Write it as ${NAME}.")
    password_file: FilePath | None = Field(
        default=None, description="Read anew for every request, so that it may be changed."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("write one of `password` and `password_file`")
        return self


class BearerAuth(Part):
    """A token, HTTP Bearer."""

    token: SecretStr | None = Field(default=None, description="Write it as ${NAME}.")
    token_file: FilePath | None = Field(
        default=None, description="Read anew for every request, so that it may be rotated."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("write one of `token` and `token_file`")
        return self


class HttpPlace(Part):
    """A server that is asked by HTTP."""

    url: HttpUrl = Field(description="Up to, not including, /api; no user or password in it.")
    basic: BasicAuth | None = Field(default=None, description="User and password.")
    bearer: BearerAuth | None = Field(default=None, description="A token.")
    tls: Tls | None = Field(default=None, description="CA, and our certificate for mutual TLS.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.basic is not None and self.bearer is not None:
            raise ValueError("write one of `basic` and `bearer`")
        if self.url.username is not None or self.url.password is not None:
            raise ValueError("no user or password in `url`: write `basic`")
        if self.url.query or self.url.fragment:
            raise ValueError("`url` ends with its path: no query, no fragment")
        if self.tls is not None and self.url.scheme != "https":
            raise ValueError("`tls` needs an https url")
        return self


class RegistryPlace(HttpPlace):
    """A schema registry that speaks Confluent's API."""

    url: HttpUrl = Field(description="Up to, not including, /subjects; no user or password in it.")
    context: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = Field(
        default="", description="Schema context (`:.NAME:`); empty is the default one."
    )
    timeout: Duration = Field(
        default=5.0, description="A whole request, from connecting to the last byte."
    )
    max_response_bytes: Size = Field(default=4 * 1024**2, description="A larger answer is refused.")
    refresh: Duration = Field(default=60.0, description="How often versions are looked at.")
    unknown_for: Duration = Field(
        default=30.0, description="How long an id that the registry denied is not asked for again."
    )
    cache: Path | None = Field(
        default=None,
        description="Directory that keeps schemas over restarts; by default below the user's cache "
        "directory.",
    )


class ContractsPlace(Part):
    """Where the contracts are. Workers read the registry where there is one."""

    directory: DirectoryPath | None = Field(
        default=None, description="The contracts' files; relative to this file."
    )
    registry: RegistryPlace | None = Field(default=None, description="A schema registry.")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.directory is None and self.registry is None:
            raise ValueError("write `directory`, `registry`, or both")
        return self
