"""The drills by name, and running them one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.drills import badmodel, brokerloss, kill, poison, rebalance, registrydown
from workers.drills.choices import BrokerChoice, DrillName
from workers.drills.ground import AnyBroker, broker
from workers.drills.report import DrillReport
from workers.drills.setup import Setup, prepare
from workers.drills.stage import Say, Stage
from workers.stream.clock import SystemClock
from workers.topology import Delivery


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. `why_real` says why exactly once cannot be shown without a real broker.

    `breaks_broker`: the broker must be one that may be killed.
    """

    title: str
    play: Callable[[Setup, AnyBroker, Say], Stage]
    why_real: str = ""
    breaks_broker: bool = False


FORGETS = "the embedded broker forgets the offsets of transactions"
MOCK = "the embedded broker can only be unreachable, not die"
DRILLS: dict[DrillName, Drill] = {
    DrillName.POISON: Drill(poison.TITLE, poison.play),
    DrillName.REGISTRY_DOWN: Drill(registrydown.TITLE, registrydown.play),
    DrillName.BAD_MODEL: Drill(badmodel.TITLE, badmodel.play),
    DrillName.KILL: Drill(kill.TITLE, kill.play, FORGETS),
    DrillName.REBALANCE: Drill(rebalance.TITLE, rebalance.play, FORGETS),
    DrillName.BROKER_LOSS: Drill(brokerloss.TITLE, brokerloss.play, MOCK, breaks_broker=True),
}


def run_drills(
    topology: Path, worker: str | None, name: DrillName, choice: BrokerChoice, say: Say
) -> list[DrillReport]:
    """Run one drill or all, each on a broker of its own.

    Raises:
        Halt: topology, contracts or model cannot be used, or there is no broker to be had.
    """
    chosen = list(DRILLS) if name is DrillName.ALL else [name]
    with tempfile.TemporaryDirectory(prefix="drills-") as folder:
        say("reading topology, contracts and model; looking for events that the worker enriches")
        setup = prepare(topology, worker, Path(folder))
        say(f"{len(setup.events)} golden events of {setup.entry}")
        return [_one(setup, each, choice, say) for each in chosen]


def _one(setup: Setup, name: DrillName, choice: BrokerChoice, say: Say) -> DrillReport:
    drill, clock = DRILLS[name], SystemClock()
    kind = _kind(setup, drill, choice)
    if kind is BrokerChoice.KAFKA and choice is BrokerChoice.AUTO:
        say(f"{name.value} needs a real Kafka, because {drill.why_real}: starting one")
    # Nobody asked for the cluster that the environment names, so it is not touched.
    ours = drill.breaks_broker or choice is BrokerChoice.AUTO
    with broker(kind, ours=ours) as place:
        began = clock.monotonic()
        stage = drill.play(setup, place, lambda text: say(f"{name.value}: {text}"))
        return report(name.value, drill.title, stage, clock.monotonic() - began)


def _kind(setup: Setup, drill: Drill, choice: BrokerChoice) -> BrokerChoice:
    if choice is not BrokerChoice.AUTO:
        return choice
    once = setup.worker.delivery is Delivery.EXACTLY_ONCE
    real = bool(drill.why_real) and (once or drill.breaks_broker)
    return BrokerChoice.KAFKA if real else BrokerChoice.EMBEDDED


def report(name: str, title: str, stage: Stage, seconds: float) -> DrillReport:
    """What a stage was left with."""
    return DrillReport(
        name=name,
        title=title,
        place=stage.place,
        settings=stage.settings,
        did=tuple(stage.did),
        checks=tuple(stage.checks),
        seconds=seconds,
    )


def failed(reports: Sequence[DrillReport]) -> bool:
    """Did one check of one drill fail?"""
    return any(each.mark.value == "FAIL" for each in reports)
