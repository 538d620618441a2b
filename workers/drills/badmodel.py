"""A damaged version, a rollback and a bypass, while the worker runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workers.drills.changes import Changes
from workers.drills.ground import AnyBroker
from workers.drills.load import Load
from workers.drills.promises import counted, drained, promises
from workers.drills.report import Check, Question, check
from workers.drills.setup import INSTANCE, Setup, why
from workers.drills.stage import Say, Stage
from workers.errors import ExitCode
from workers.models.bundle import MANIFEST
from workers.models.store import Store

TITLE = "a damaged model is promoted; then rollback and bypass"
DAMAGED = "drill-damaged"
SECOND = "drill-second"
PROMISED = 10.0
"""Seconds from the end of the command to the first event that the change decided."""
MARKED = 100
Block = Mapping[str, Any]


def play(setup: Setup, broker: AnyBroker, say: Say) -> Stage:
    """Run the drill."""
    ref = setup.document["model"]
    name, served = ref["name"], ref["version"]
    models = Path(shutil.copytree(setup.models, setup.folder / "models.drill"))
    copied(models / name / served, SECOND)
    damage(copied(models / name / served, DAMAGED))
    store = Store(models)
    store.promote(name, served, why(f"promote {served}"))
    followed = {**{k: v for k, v in ref.items() if k != "version"}, "alias": "champion"}
    changes = Changes(
        # `version` must go, and changes are merged key by key.
        worker={"model": {**followed, "version": None}},
        models=models,
        said=(f"model {name} followed by its alias, in a copy of the store",),
    )
    with Stage(setup, broker, say, changes) as stage:
        stage.ready(stage.start())
        with Load(stage, size=5):
            drill = _Drill(stage, store, name, served)
            drill.until("the champion to serve", lambda block: block["model_version"] == served)
            drill.refuse()
            drill.roll_back()
            drill.bypass()
        stage.all_out()
        drained(stage)
        promises(stage)
        stage.checks += [counted(stage), drill.history()]
    return stage


def copied(version: Path, name: str) -> Path:
    """The same bundle under another version."""
    target = Path(shutil.copytree(version, version.parent / name))
    manifest = target / MANIFEST
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "version": name}))
    return target


def damage(version: Path) -> None:
    """A copy that broke off in the middle of the model's file."""
    manifest = json.loads((version / MANIFEST).read_text())
    model = version / manifest["booster"]["file"]
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])


@dataclass(frozen=True, slots=True)
class _Drill:
    """The steps. `served` is the version that the user's worker serves."""

    stage: Stage
    store: Store
    name: str
    served: str

    def until(self, what: str, decided: Callable[[Block], bool]) -> float:
        """Wait for an event, of those that come from now on, that was decided so."""
        before = len(self.stage.outcomes)
        return self.stage.until(
            what,
            lambda: any(
                decided(each.block)
                for each in self.stage.outcomes[before:]
                if each.block is not None
            ),
        )

    def command(self, *arguments: str) -> int:
        """`workers models …` as an operator types it; the exit code."""
        command = [sys.executable, "-m", "workers", "models", *arguments]
        command += [
            "--topology",
            str(self.stage.file),
            "--why",
            "a drill",
            "--who",
            "workers drill",
        ]
        env = {**os.environ, INSTANCE: "drill"}
        return subprocess.run(command, env=env, capture_output=True, check=False).returncode

    def refuse(self) -> None:
        """By the command, and past the command."""
        stage, process = self.stage, self.stage.processes[-1]
        stage.do(f"`workers models promote {self.name} {DAMAGED}`: half of its file is gone")
        code = self.command("promote", self.name, DAMAGED)
        champion = self.store.aliases(self.name).champion
        stage.checks.append(
            check(
                "promoting a damaged version is refused, and nothing changes",
                f"exit code {code}; the champion is {champion}",
                Question.FAILURE,
                Question.BACK,
                held=code == ExitCode.MODEL and champion == self.served,
            )
        )
        stage.do("the damaged version is made champion all the same, behind the command's back")
        self.store.promote(self.name, DAMAGED, why(f"promote {DAMAGED}"))
        stage.until(
            "the worker to refuse it", lambda: bool(process.said("model.refused", version=DAMAGED))
        )
        since = len(stage.outcomes)
        self.until("events after that", lambda _: True)
        blocks = [e.block for e in stage.outcomes[since:] if e.block is not None]
        stage.checks += [
            goes_on(blocks, self.served, runs=process.ended is None),
            check(
                "the log names the version and what is wrong with it",
                f"model.refused: {process.said('model.refused', version=DAMAGED)[0]['why']}",
                Question.SEEN,
                held=bool(process.said("model.refused", version=DAMAGED)[0]["why"]),
            ),
        ]

    def roll_back(self) -> None:
        """Away from the damaged one, to a second version, and back."""
        stage = self.stage
        stage.do(
            f"the champion before is champion again; then {SECOND}, a good version, is promoted"
        )
        self.store.rollback(self.name, why("rollback"))
        self.store.promote(self.name, SECOND, why(f"promote {SECOND}"))
        self.until(f"{SECOND} to serve", lambda block: block["model_version"] == SECOND)
        stage.do(f"`workers models rollback {self.name}`")
        code = self.command("rollback", self.name)
        took = self.until(
            f"{self.served} to serve", lambda block: block["model_version"] == self.served
        )
        stage.checks.append(reached("a rollback", code, took))

    def bypass(self) -> None:
        """On, some events, off."""
        stage = self.stage
        stage.do(f"`workers models bypass {self.name}`, {MARKED} events, `… resume …`")
        code = self.command("bypass", self.name)
        took = self.until("the bypass", _bypassed)
        stage.checks.append(reached("a bypass", code, took))
        stage.send([replace(each, key=b"bypassed") for each in stage.good(MARKED)])
        stage.until("the events", lambda: len(self._marked()) >= MARKED)
        stage.checks.append(flagged(self._marked(), MARKED))
        code = self.command("resume", self.name)
        took = self.until("the model", lambda block: not _bypassed(block))
        stage.checks.append(reached("the end of a bypass", code, took))

    def history(self) -> Check:
        """Who did what, and why."""
        found = self.store.aliases(self.name).history
        return check(
            "the history says who changed what, and why",
            ", ".join(change.did for change in found),
            Question.SEEN,
            held=len(found) >= 6 and all(change.who and change.why for change in found),
        )

    def _marked(self) -> list[Block]:
        found = (e.block for e in self.stage.outcomes if e.record.key == b"bypassed")
        return [block for block in found if block is not None]


def reached(what: str, code: int, took: float) -> Check:
    """A change came to the running worker: the command's exit code, and the seconds after it."""
    return check(
        f"{what} reaches the running worker within {PROMISED:g} s",
        f"the first event decided so came {took:.1f} s after the command (exit code {code})",
        Question.BACK,
        Question.LATENCY,
        held=took <= PROMISED and code == 0,
    )


def goes_on(blocks: Sequence[Block], served: str, *, runs: bool) -> Check:
    """Events after a damaged version became champion: who decided them."""
    stood = sum(block["model_version"] == served for block in blocks)
    return check(
        f"the running worker refuses it too, and version {served} goes on deciding",
        f"{stood} of {len(blocks)} events after that are decided by {served}; the process "
        f"{'runs' if runs else 'ended'}",
        Question.FAILURE,
        Question.BACK,
        held=bool(blocks) and stood == len(blocks) and runs,
    )


def flagged(blocks: Sequence[Block], count: int) -> Check:
    """Events of a bypass."""
    found = sum(map(_bypassed, blocks))
    return check(
        "while it is on every event gets the declared fallback in the same schema, and says so",
        f"{found} of {count} events have `fallback` and its reason, and no score",
        Question.BACK,
        Question.CONTRACTS,
        held=found == len(blocks) == count,
    )


def _bypassed(block: Block) -> bool:
    """Decided without the model, and saying so: a rule may have had the word before."""
    flagged = block["fallback"] and block["fallback_reason"] in ("bypassed", "rule")
    return bool(flagged) and block["score"] is None
