"""Opens the store that a topology, or a command line, names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from workers.errors import ModelError
from workers.models.kept import KeptStore
from workers.models.local import LocalShelf
from workers.models.mlflow import MlflowShelf
from workers.models.mlflow_http import MlflowHttp
from workers.models.objects import EXCLUSIVE, Objects, ObjectShelf
from workers.models.shelf import Shelf
from workers.models.store import Store
from workers.topology import Lake, ModelsPlace

LOCAL = ("file", "local")


def open_store(place: ModelsPlace) -> Store:
    """The store of a topology; nothing is asked of it yet.

    Raises:
        ModelError: the package for its url is not installed, or its options do not fit.
    """
    return Store(_shelf(place))


def open_kept(place: ModelsPlace, tell: Callable[[str], None]) -> Store:
    """The store as a worker uses it: with its cache, where one is declared.

    `tell` is given what could not be kept.

    Raises:
        ModelError: the package for its url is not installed, or its options do not fit.
    """
    if place.cache is None:
        return open_store(place)
    return KeptStore(_shelf(place), place.cache, tell)


def open_place(text: str, near: ModelsPlace) -> Store:
    """The store that a command line names: a directory, a url, or `mlflow` for the topology's.

    Times, and the options of a url that begins alike, are the topology's.

    Raises:
        ModelError: it cannot be opened.
    """
    if text == "mlflow":
        if near.mlflow is None:
            raise ModelError("the topology has no `models.mlflow`")
        return open_store(near)
    if "://" not in text:
        return Store(Path(text))
    try:
        place = ModelsPlace(url=text)
    except ValidationError as error:
        raise ModelError(
            "; ".join(f"{text}: {fault['msg']}" for fault in error.errors())
        ) from error
    alike = near.url is not None and urlsplit(near.url).scheme == urlsplit(text).scheme
    known = {
        "options": near.options if alike else {},
        "timeout": near.timeout,
        "transfer_timeout": near.transfer_timeout,
    }
    return open_store(place.model_copy(update=known))


def _shelf(place: ModelsPlace) -> Shelf:
    if place.directory is not None:
        return LocalShelf(place.directory)
    if place.mlflow is not None:
        http = MlflowHttp(place.mlflow, timeout=place.timeout, transfer=place.transfer_timeout)
        return MlflowShelf(http, place.mlflow.experiment)
    return _at_url(place, str(place.url))


def _at_url(place: ModelsPlace, url: str) -> Shelf:
    scheme = urlsplit(url).scheme
    if scheme in LOCAL:
        return LocalShelf(Path(urlsplit(url).path))
    objects, root = open_objects(place, url)
    return ObjectShelf(objects, root, writes=scheme in EXCLUSIVE)


def open_objects(place: ModelsPlace | Lake, url: str) -> tuple[Objects, str]:
    """The file system of a url, and the path in it; nothing is asked of it yet.

    Raises:
        ModelError: the package for the url is not installed, or its options do not fit.
    """
    system, root = _file_system(url, urlsplit(url).scheme, place)
    secrets = tuple(
        option.get_secret_value()
        for option in place.options.values()
        if isinstance(option, SecretStr) and option.get_secret_value()
    )
    objects = Objects(
        system, url, timeout=place.timeout, transfer=place.transfer_timeout, secrets=secrets
    )
    return objects, root


def _file_system(url: str, scheme: str, place: ModelsPlace | Lake) -> tuple[Any, str]:
    # Imported here: most topologies have a directory.
    import fsspec

    options = {
        key: option.get_secret_value() if isinstance(option, SecretStr) else option
        for key, option in place.options.items()
    }
    try:
        # Listings are asked for anew each time: another process may have changed them.
        system, root = fsspec.core.url_to_fs(
            url, **options, use_listings_cache=False, skip_instance_cache=True
        )
    except ImportError as error:
        raise ModelError(
            f"models.url: {scheme}:// needs a package that is not installed: {error}; "
            f"`pip install {_package(scheme)}`"
        ) from error
    except Exception as error:
        # Texts of libraries may repeat options.
        raise ModelError(
            f"models.url: {url}: fsspec cannot open it ({type(error).__name__}); is the protocol "
            "one of its, and do `options` fit?"
        ) from error
    return system, str(root)


def _package(scheme: str) -> str:
    """What to install, from fsspec's own table of implementations."""
    from fsspec.registry import known_implementations

    return str(known_implementations.get(scheme, {}).get("class", scheme)).partition(".")[0]
