"""A Delta log beside the Parquet files of a table: the same files, and nothing copied.

    flights/decisions/day=2013-03-01/event-….parquet           the lake's
    flights/decisions/_delta_log/00000000000000000012.json     what is written here

The lake's documents are what counts. The log follows them, and is read for nothing but what it
lacks. Each entry adds and removes files in one step and says, as an application's transaction, of
which commit it is. It is written over nothing: of two writers in the same instant one is refused,
and looks anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.schema import PrimitiveType
from deltalake.transaction import create_table_with_add_actions

from workers.feedback.lake.commits import Commit, DataFile, Log
from workers.feedback.lake.delta.changes import OURS, Change, Held, adding
from workers.feedback.lake.delta.columns import DAY, new_columns
from workers.feedback.lake.delta.mirror import Mirrored
from workers.feedback.lake.place import LakeFault

APPLICATION = "enrichment-workers"
"""Whose transactions say which commit of the lake a version is."""
TRIES = 20
"""Times that another mirror may be first."""
# So that no reader's VACUUM takes files that earlier commits of the lake name.
_PROPERTIES = {"delta.deletedFileRetentionDuration": "interval 36500 days"}
_SECRETS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
# What deltalake's texts have that is for its authors, and for terminals.
_TRACE = re.compile(r"\n\s+0: .*", re.DOTALL)
_MARKS = re.compile(r"\x1b\[[0-9;]*m|↳")
_AGAIN = "remove its _delta_log, and mirror again"


class DeltaTables:
    """The Delta tables of a loop's lake. `options` are deltalake's; `at` is told of each step."""

    def __init__(self, log: Log, options: Mapping[str, str], at: Callable[[str], None]) -> None:
        self._log = log
        self._options = dict(options)
        self._at = at

    def follow(self, table: str) -> Mirrored:
        """Let a table's Delta table have what the newest commit has of it.

        Raises:
            LakeFault: its columns cannot be a Delta table's, or the log is damaged or not ours.
        """
        for _ in range(TRIES):
            # The commit first: a table that is ahead of it was moved on by another mirror.
            commit = self._log.newest()
            files = {self._within(table, file): file for file in commit.table(table)}
            known = self._opened(table)
            if known is None:
                done = self._made(commit, table, files)
            else:
                done = self._moved(commit, table, files, known)
            if done is not None:
                return done
        raise LakeFault(f"{self._url(table)}: other mirrors were first, {TRIES} times")

    def _made(self, commit: Commit, table: str, files: Mapping[str, DataFile]) -> Mirrored | None:
        """A Delta table where none is; None where another mirror was first."""
        columns = new_columns(self._log.place, self._url(table), {}, files.values())
        added = [adding(commit, path, file, changes=True) for path, file in files.items()]
        self._at("before the table")
        if not self._written(
            table,
            -1,
            lambda: create_table_with_add_actions(
                self._url(table),
                Schema([*columns, Field(DAY, PrimitiveType("date"))]),
                added,
                partition_by=[DAY],
                name=f"{self._log.loop}.{table}",
                description="What enrichment-workers have collected. Read it, and nothing else.",
                configuration=_PROPERTIES,
                storage_options=self._options,
                commit_properties=_of(commit),
            ),
        ):
            return None
        self._at("after the table")
        return Mirrored(table, 0, commit.number, len(files), len(files))

    def _moved(
        self, commit: Commit, table: str, files: Mapping[str, DataFile], known: DeltaTable
    ) -> Mirrored | None:
        """A Delta table brought up to a commit; None where another mirror was first."""
        if not self._may_follow(commit, table, known):
            return None
        change = self._change(table, files, known)
        if not change:
            return Mirrored(table, known.version(), commit.number, len(files))
        columns = self._columns(table, change, known)
        # Columns have an entry of their own, which is of no commit: it is not all of one.
        if columns and not self._widened(table, columns, known):
            return None
        self._at("before the files")
        if not self._written(
            table,
            known.version(),
            lambda: known.create_write_transaction(
                change.actions(commit),
                mode="append",
                schema=known.schema(),
                partition_by=[DAY],
                commit_properties=_of(commit),
            ),
        ):
            return None
        self._at("after the files")
        return Mirrored(
            table,
            known.version() + 1,
            commit.number,
            len(files),
            len(change.add),
            len(change.remove),
            tuple(column.name for column in columns),
        )

    def _may_follow(self, commit: Commit, table: str, known: DeltaTable) -> bool:
        """Is the table of this commit, or of an earlier one?

        Raises:
            LakeFault: it is not of this lake.
        """
        with self._told(table):
            mirrored = known.transaction_version(APPLICATION)
        if mirrored is None:
            raise LakeFault(
                f"{self._url(table)}: a Delta table that somebody else has made; move its "
                "_delta_log away, or set `lake.delta: false`"
            )
        newest = commit.number if mirrored <= commit.number else self._log.newest().number
        if mirrored > newest:
            raise LakeFault(
                f"{self._url(table)}: mirrors commit {mirrored}, and the lake's newest is "
                f"{newest}: the lake was made anew; {_AGAIN}"
            )
        return mirrored <= commit.number

    def _change(self, table: str, files: Mapping[str, DataFile], known: DeltaTable) -> Change:
        """Raises:
        LakeFault: somebody else wrote to the table.
        """
        with self._told(table):
            listed = known.get_add_actions(flatten=True)
            names = ("path", "size_bytes", "num_records")
            paths, sizes, rows = (listed.column(name).to_pylist() for name in names)
        parts = zip(paths, sizes, rows, strict=True)
        held = {path: Held(size, count or 0) for path, size, count in parts}
        strange = sorted(path for path in held if not OURS.fullmatch(path))
        if strange:
            raise LakeFault(
                f"{self._url(table)}: somebody else has written to the Delta table: {strange[0]} "
                f"is no file of the lake, which is as it was; {_AGAIN}"
            )
        return Change(
            {path: file for path, file in files.items() if path not in held},
            {path: file for path, file in held.items() if path not in files},
        )

    def _columns(self, table: str, change: Change, known: DeltaTable) -> list[Field]:
        before = {field.name: field.type.to_json() for field in known.schema().fields}
        return new_columns(self._log.place, self._url(table), before, change.add.values())

    def _widened(self, table: str, columns: list[Field], known: DeltaTable) -> bool:
        self._at("before the columns")
        properties = CommitProperties(max_commit_retries=0)
        if not self._written(
            table,
            known.version(),
            lambda: known.alter.add_columns(columns, commit_properties=properties),
        ):
            return False
        self._at("after the columns")
        return True

    def _opened(self, table: str) -> DeltaTable | None:
        """None where there is no table yet.

        Raises:
            LakeFault: its log cannot be read.
        """
        with self._told(table):
            try:
                return DeltaTable(self._url(table), storage_options=self._options)
            except TableNotFoundError:
                return None

    def _written(self, table: str, version: int, write: Callable[[], None]) -> bool:
        """Write the version after `version`; False where there is one that we did not know.

        It may be ours, where the answer was lost on its way: who looks anew finds it done.
        """
        try:
            with self._told(table):
                write()
        except LakeFault:
            now = self._opened(table)
            if (-1 if now is None else now.version()) == version:
                raise
            return False
        return True

    @contextmanager
    def _told(self, table: str) -> Iterator[None]:
        """What goes wrong in there is said with its place, and without secrets."""
        try:
            yield
        except Exception as error:
            text = " ".join(_MARKS.sub(" ", _TRACE.sub("", str(error))).split())
            for secret in filter(None, map(self._options.get, _SECRETS)):
                text = text.replace(secret, "***")
            raise LakeFault(
                f"{self._url(table)}: {text[:400]}. The lake is as it was; if it is the Delta "
                f"table that is damaged, {_AGAIN}"
            ) from error

    def _url(self, table: str) -> str:
        return self._log.place.url(f"{self._log.loop}/{table}")

    def _within(self, table: str, file: DataFile) -> str:
        return file.path.removeprefix(f"{self._log.loop}/{table}/")


def _of(commit: Commit) -> CommitProperties:
    """Of a commit, and not tried again: what is there by then has to be looked at first."""
    return CommitProperties(
        max_commit_retries=0, app_transactions=[Transaction(APPLICATION, commit.number)]
    )
