"""Where the bundles are: a directory, an object store, or an MLflow registry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, DirectoryPath, Field, SecretStr, model_validator

from workers.topology.contracts import HttpPlace
from workers.topology.security import Part
from workers.topology.units import Duration

_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*")


def _plain(url: str) -> str:
    if not _URL.fullmatch(url) or "::" in url:
        raise ValueError("not a url such as s3://bucket/models")
    # Some protocols have accounts before the @ (abfs://container@account), none has a password.
    if urlsplit(url).password is not None:
        raise ValueError("no password in `url`: write `options`")
    return url


StoreUrl = Annotated[str, AfterValidator(_plain)]


class MlflowPlace(HttpPlace):
    """An MLflow tracking server with its model registry; it serves the artifacts."""

    experiment: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="enrichment-workers", description="Whose runs hold the bundles' files."
    )


class ModelsPlace(Part):
    """Where the bundles are."""

    directory: DirectoryPath | None = Field(default=None, description="Relative to this file.")
    url: StoreUrl | None = Field(
        default=None,
        description="Instead of a directory: any url of fsspec, as s3://bucket/models; its package "
        "(s3fs, gcsfs, adlfs) is yours to install.",
    )
    options: dict[str, bool | int | SecretStr] = Field(
        default_factory=dict,
        description="fsspec's options for `url`, as key, secret and endpoint_url for S3; never "
        "printed.",
    )
    mlflow: MlflowPlace | None = Field(
        default=None, description="Instead of a directory: an MLflow registry."
    )
    timeout: Duration = Field(
        default=10.0, description="One question to an object store or a registry."
    )
    transfer_timeout: Duration = Field(
        default=120.0, description="One file of a bundle, on its way from or to them."
    )
    cache: Path | None = Field(
        default=None,
        description="Directory that keeps what was proven last, so that a worker starts while its "
        "store is down; relative to this file. Default: it does not start then.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(place is not None for place in (self.directory, self.url, self.mlflow)) != 1:
            raise ValueError("write one of `directory`, `url` and `mlflow`")
        if self.options and self.url is None:
            raise ValueError("`options` belong to a `url`")
        if self.timeout <= 0 or self.transfer_timeout <= 0:
            raise ValueError("timeouts are longer than nothing")
        if self.mlflow is not None and self.timeout > 15:
            raise ValueError("`timeout` is at most 15s: writers of an MLflow registry take turns")
        return self
