"""Mirrors a lake, where `lake.delta` says so.

Imported without the extra `delta`, which is asked for when something is to be mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from workers.feedback.lake.commits import Log
from workers.feedback.lake.place import LakeFault
from workers.topology import Lake

_OPTIONS = {
    "key": "aws_access_key_id",
    "secret": "aws_secret_access_key",
    "token": "aws_session_token",
    "endpoint_url": "aws_endpoint_url",
    "anon": "aws_skip_signature",
}
"""What s3fs calls it, and what deltalake does."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a Delta table has now: `version` is its own, `commit` the lake's.

    `added` and `removed` are the files by which it changed, `columns` those that are new.
    """

    table: str
    version: int
    commit: int
    files: int
    added: int = 0
    removed: int = 0
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """In words."""
        named = f", new columns {', '.join(self.columns)}" if self.columns else ""
        return (
            f"{self.table}: Delta version {self.version} has the {self.files} files of commit "
            f"{self.commit}, {self.added} of them new, {self.removed} gone{named}"
        )


def mirror(log: Log, lake: Lake, at: Callable[[str], None]) -> list[Mirrored]:
    """Let the Delta table of each table have the files that the newest commit names.

    Killed at any instant, run again: it does what is missing. Empty where nothing was collected.

    Raises:
        LakeFault: the extra is not installed, an option of the lake has no counterpart, a table's
            columns cannot be a Delta table's, or its log is damaged or not ours.
    """
    try:
        from workers.feedback.lake.delta.tables import DeltaTables
    except ImportError as error:
        raise LakeFault(
            "lake.delta needs the extra: pip install 'enrichment-workers[delta]'"
        ) from error
    tables = DeltaTables(log, storage_options(lake), at)
    return [tables.follow(name) for name in sorted({file.table for file in log.newest().files})]


def storage_options(lake: Lake) -> dict[str, str]:
    """What deltalake has to know of a lake's store; of a directory nothing.

    Raises:
        LakeFault: an option has no counterpart there, or the path has a %.
    """
    place = str(lake.directory or lake.url)
    if "%" in place:
        # deltalake 1.6.6 decodes the path of some of its requests, and of others not.
        raise LakeFault(f"{place}: Delta tables cannot be kept below a path with a %")
    if lake.url is None or not lake.url.startswith("s3"):
        return {}
    unknown = sorted(lake.options.keys() - _OPTIONS.keys())
    if unknown:
        raise LakeFault(
            f"{place}: with `delta`, lake.options may have {', '.join(_OPTIONS)}; instead of "
            f"`{unknown[0]}` use AWS's own variables of the environment"
        )
    told = {
        # S3 then refuses to write a version over another, as it does with commits.
        "aws_conditional_put": "etag",
        "timeout": f"{lake.transfer_timeout * 1000:.0f}ms",
        "connect_timeout": f"{lake.timeout * 1000:.0f}ms",
        "retry_timeout": f"{lake.transfer_timeout * 1000:.0f}ms",
    }
    for name, option in lake.options.items():
        text = option.get_secret_value() if isinstance(option, SecretStr) else str(option).lower()
        told[_OPTIONS[name]] = text
    if told.get("aws_endpoint_url", "").startswith("http://"):
        told["aws_allow_http"] = "true"
    return told
