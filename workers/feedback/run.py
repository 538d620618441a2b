"""The whole loop, once: collect, compact, mirror, watch what serves, train, gate, promote.

Every step looks at what is there and does what is missing, so a run that was killed is taken up by
the next: with the instant that it began with, or it would train another model. What is promoted,
and how far, stands in the aliases of the store of models; nothing of it is kept twice.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pydantic import BaseModel, ConfigDict

from workers.errors import ModelError
from workers.feedback import live
from workers.feedback.collect import CollectedState, nowhere
from workers.feedback.gate import gate
from workers.feedback.lake.commits import Log
from workers.feedback.lake.compact import clean, compact
from workers.feedback.lake.delta.mirror import mirror
from workers.feedback.lake.lease import Lease, held
from workers.feedback.lake.place import LakeFault
from workers.feedback.learning.retrain import made_at, retrain
from workers.feedback.opening import Loop
from workers.models.aliases import Aliases, Change
from workers.stream.clock import Clock

WHO = "workers feedback run"
FILES_A_DAY = 4
"""More files a day than these are compacted."""
_NUMBER = re.compile(r"(\d{9})-(begun|ended)\.json")


class Record(BaseModel):
    """What a run was told and what it did; `retrained` is the instant of the newest training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: datetime.datetime
    retrained: datetime.datetime | None = None
    steps: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of each step, in their order, in words.

    `fault` is what kept others from seeing the lake; the loop itself needs no mirror and went on.
    """

    as_of: datetime.datetime
    resumed: bool
    steps: dict[str, str]
    fault: str = ""


Collect = Callable[[], CollectedState]
Failpoint = Callable[[str], None]


class Runner:
    """Runs a loop. `collect` brings the lake up to date; `at` is told between two steps.

    With `keep`, older documents of the lake are forgotten and files that none names removed: only
    where nobody else collects. Another run's lease is waited for, `wait` seconds.
    """

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        collect: Collect,
        at: Failpoint = nowhere,
        *,
        keep: int | None = None,
        wait: float = 0.0,
    ) -> None:
        self._loop = loop
        self._keep = keep
        self._wait = wait
        self._clock = clock
        self._collect = collect
        self._at = at
        self._place = loop.log.place
        self._lease = Lease(self._place, loop.feedback.name, clock)
        self._fault = ""

    def run(self, as_of: datetime.datetime) -> Ran:
        """Once; a run that did not end is taken up with its own instant.

        Raises:
            LakeFault: another run has the loop.
            Halt: a step cannot be done; what was done before it stands.
        """
        with held(self._lease, self._clock, self._wait):
            return self._run(as_of)

    def _run(self, as_of: datetime.datetime) -> Ran:
        number, state = self._newest()
        resumed = state == "begun"
        if resumed:
            as_of = self._record(number, "begun").as_of
        else:
            number += 1
            self._write(number, "begun", Record(as_of=as_of))
        before = self._record(number - 1, "ended") if number > 1 else None
        steps: dict[str, str] = {}
        for name, step in self._upkeep():
            steps[name] = step()
            self._next(name)
        steps["serving"] = self._serving(as_of)
        self._next("serving")
        retrained = before.retrained if before is not None else None
        if self._due(as_of, retrained):
            steps["retrain"] = self._retrained(as_of)
            retrained = as_of
        self._next("retrain")
        self._write(number, "ended", Record(as_of=as_of, retrained=retrained, steps=steps))
        return Ran(as_of, resumed, steps, self._fault)

    def _upkeep(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """What is done to the lake. Mirrored before files go that the mirror may still name."""
        yield "collect", self._collected
        yield "compact", self._compacted
        if self._loop.feedback.lake.delta:
            yield "delta", self._mirrored
        if self._keep is not None:
            yield "clean", partial(self._cleaned, self._keep)

    def _next(self, name: str) -> None:
        self._at(name)
        self._lease.renew()

    def _collected(self) -> str:
        state = self._collect()
        rows = ", ".join(f"{count:,} {table}" for table, count in sorted(state.rows.items()))
        return rows or "nothing new"

    def _compacted(self) -> str:
        commit = self._loop.log.newest()
        days = len({(f.table, f.day, f.by) for f in commit.files})
        if len(commit.files) <= FILES_A_DAY * max(days, 1):
            return f"{len(commit.files)} files are few"
        now = datetime.datetime.fromtimestamp(self._clock.now() / 1000, datetime.UTC)
        made = compact(self._loop.log, now, nowhere)
        return f"{made.before} files became {made.after}"

    def _mirrored(self) -> str:
        try:
            made = mirror(self._loop.log, self._loop.feedback.lake, self._at)
        except LakeFault as error:
            self._fault = str(error)
            return f"not mirrored: {error}"
        return "; ".join(map(str, made)) or "nothing is collected yet"

    def _cleaned(self, keep: int) -> str:
        if self._fault:
            return "nothing removed: the mirror may still name it"
        return f"{clean(self._loop.log, keep)} files that no document names removed"

    def _serving(self, as_of: datetime.datetime) -> str:
        """Move a canary on, or take it back; take back a champion that decays."""
        aliases = self._aliases()
        if aliases.challenger is not None:
            return self._challenger(aliases, as_of)
        return self._champion(aliases, as_of)

    def _challenger(self, aliases: Aliases, as_of: datetime.datetime) -> str:
        policy, version = self._loop.feedback.promotion, aliases.challenger
        if policy.mode != "automatic":
            return f"version {version} waits to be promoted by hand"
        if aliases.canary is None:
            return self._step(aliases, 0.0, as_of)
        beside = live.canary(self._loop, aliases.canary.since, as_of)
        said = f"{beside.rows:,} outcomes of the canary"
        if beside.rows < policy.rows:
            return f"{said}, {policy.rows:,} are needed"
        if beside.worse(policy.rollback, self._loop.feedback.gate.confidence):
            why = f"log loss {beside.difference.value:+.4f} to the champion's"
            self._change("canary taken back", why, as_of, challenger=None, canary=None)
            return f"version {version} is taken back: {why}"
        return self._step(aliases, aliases.canary.share, as_of)

    def _step(self, aliases: Aliases, share: float, as_of: datetime.datetime) -> str:
        """The next larger share, or the promotion after the last one."""
        store, name, version = self._loop.store, self._loop.model.name, str(aliases.challenger)
        larger = [step for step in sorted(self._loop.feedback.promotion.steps) if step > share]
        why = "the gate is open, and the canary is no worse"
        if not larger:
            store.promote(name, version, self._said(f"promote {version}", why, as_of))
            return f"version {version} is champion"
        store.canary(name, larger[0], self._said(f"canary {larger[0]:g}", why, as_of))
        return f"version {version} decides for {larger[0]:.0%} of the keys"

    def _champion(self, aliases: Aliases, as_of: datetime.datetime) -> str:
        policy, now, before = self._loop.feedback.promotion, aliases.champion, aliases.previous
        since = _since(aliases, now)
        if now is None or before is None or since is None or policy.mode != "automatic":
            return f"version {now} serves"
        beside = live.champion(self._loop, since, as_of, now, before)
        if beside.rows >= policy.rows and beside.worse(
            policy.rollback, self._loop.feedback.gate.confidence
        ):
            why = f"log loss {beside.difference.value:+.4f} to version {before}'s, on the same rows"
            self._loop.store.rollback(
                self._loop.model.name, self._said(f"rollback {now}", why, as_of)
            )
            return f"version {before} serves again: {why}"
        return (
            f"version {now} serves; log loss {beside.difference.value:+.4f} to version {before}'s "
            f"on {beside.rows:,} rows"
        )

    def _due(self, as_of: datetime.datetime, before: datetime.datetime | None) -> bool:
        """Nothing is trained while a challenger is on its way."""
        if self._aliases().challenger is not None:
            return False
        every = datetime.timedelta(seconds=self._loop.feedback.retrain.every)
        return before is None or as_of - before >= every

    def _retrained(self, as_of: datetime.datetime) -> str:
        try:
            # A run that is taken up may have more in its lake by now than when it trained.
            made = made_at(self._loop, as_of) or retrain(self._loop, as_of)
        except ModelError as error:
            # Too little is known yet: the next run looks again after `every`.
            return f"no version: {error}"
        self._at("trained")
        verdict = gate(self._loop, made.version, as_of)
        if not verdict.passed:
            failed = "; ".join(f"{r.name}: {r.said}" for r in verdict.rules if not r.passed)
            return f"version {made.version} stays outside: {failed}"
        store, name = self._loop.store, self._loop.model.name
        if self._loop.feedback.promotion.mode != "automatic":
            return f"version {made.version} passed the gate; promote it by hand"
        said = self._said(f"promote {made.version} to challenger", "the gate is open", as_of)
        aliases = store.promote(name, made.version, said, "challenger")
        return f"version {made.version} passed the gate; {self._step(aliases, 0.0, as_of)}"

    def _aliases(self) -> Aliases:
        return self._loop.store.aliases(self._loop.model.name)

    def _said(self, did: str, why: str, as_of: datetime.datetime) -> Change:
        return Change(when=as_of, who=WHO, why=why, did=did)

    def _change(self, did: str, why: str, as_of: datetime.datetime, **update: object) -> None:
        said = self._said(did, why, as_of)
        self._loop.store.change(
            self._loop.model.name, said, lambda before: before.model_copy(update=update)
        )

    def _newest(self) -> tuple[int, Literal["begun", "ended"]]:
        numbers = _notes(self._loop.log)
        if not numbers:
            return 0, "ended"
        number, state = max(numbers)
        # Of one number "ended" is the greater word: it is there when the run has ended.
        return number, "ended" if state == "ended" else "begun"

    def _record(self, number: int, state: str) -> Record:
        return _read(self._loop.log, number, state)

    def _write(self, number: int, state: str, record: Record) -> None:
        path = _path(self._loop.log, number, state)
        if not self._place.create(path, record.model_dump_json().encode()):
            raise LakeFault(f"{path}: another run was first")


def last_run(log: Log) -> datetime.datetime | None:
    """The instant of the newest run that ended; None where none has.

    Raises:
        LakeFault: its note cannot be read.
    """
    ended = [number for number, state in _notes(log) if state == "ended"]
    return _read(log, max(ended), "ended").as_of if ended else None


def _notes(log: Log) -> list[tuple[int, str]]:
    found = [_NUMBER.fullmatch(name) for name in log.place.names(f"{log.loop}/runs")]
    return [(int(match[1]), match[2]) for match in found if match]


def _read(log: Log, number: int, state: str) -> Record:
    path = _path(log, number, state)
    try:
        return Record.model_validate_json(log.place.read(path))
    except FileNotFoundError as error:
        raise LakeFault(f"{path}: is gone") from error


def _path(log: Log, number: int, state: str) -> str:
    return f"{log.loop}/runs/{number:09d}-{state}.json"


def _since(aliases: Aliases, version: str | None) -> datetime.datetime | None:
    """When this loop made the version champion; None where somebody else did."""
    own = [c for c in aliases.history if c.who == WHO and c.did == f"promote {version}"]
    later = [c for c in aliases.history if c.did == f"rollback {version}"]
    if not own or (later and later[-1].when >= own[-1].when):
        return None
    return own[-1].when
