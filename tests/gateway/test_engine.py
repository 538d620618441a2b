"""What comes in together is scored together; what cannot be in time gets the declared fallback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from tests.traffic import GOOD
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.path import Enricher
from workers.enrich.policy import Effort
from workers.errors import Code, Halt
from workers.gateway.answers import Decided, Renderer
from workers.gateway.engine import Engine, JobState, Row
from workers.gateway.problems import Kind, Problem
from workers.stream.clock import SystemClock
from workers.topology.gateway import QueueSettings

FAR = 60.0


class Path:
    """The demo worker's path, which may be held up before the model."""

    def __init__(self, enricher: Enricher) -> None:
        self.enricher = enricher
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.sizes: list[int] = []
        self.told: list[tuple[int, list[int]]] = []
        """Of each batch that was told of: its size, and rows that had an answer already."""
        self.error: BaseException | None = None

    def __call__(self, batch: Batch, effort: Effort) -> Outcomes:
        """As the worker's; with the model it waits for `open`."""
        if effort.model:
            self.entered.set()
            assert self.open.wait(60)
            self.sizes.append(len(batch))
            if self.error is not None:
                raise self.error
        return self.enricher.enrich(batch, effort)

    def tell(self, outcomes: Outcomes, late: Collection[int], _: float) -> None:
        """What the engine says of a batch."""
        self.told.append((len(outcomes.batch), list(late)))


Scenario = Callable[[Engine, Path], Awaitable[Any]]


@pytest.fixture
def play(enricher: Enricher) -> Callable[..., Any]:
    """Runs a scenario on an engine of its own."""

    def run(scenario: Scenario, **settings: Any) -> Any:
        async def main() -> Any:
            path = Path(enricher)
            binding = enricher.binding
            assert binding.decisions is not None
            renderer = Renderer(binding.block, enricher.policy.blocks, binding.decisions.schema)
            engine = Engine(
                enrich=path,
                before=lambda: None,
                after=lambda _: None,
                decided=renderer.decided,
                settled=path.tell,
                settings=QueueSettings(**settings),
                clock=SystemClock(),
                loop=asyncio.get_running_loop(),
            )
            engine.start()
            try:
                return await scenario(engine, path)
            finally:
                path.open.set()
                await asyncio.get_running_loop().run_in_executor(None, engine.close, 10.0)

        return asyncio.run(main())

    return run


def job(datums: list[bytes], seconds: float = FAR, number: int = 7) -> JobState:
    """A request with these events."""
    loop = asyncio.get_running_loop()
    return JobState(
        values=[GOOD + datum for datum in datums],
        keys=[None] * len(datums),
        places=list(range(len(datums))),
        number=number,
        reasons=False,
        score_by=loop.time() + seconds,
        future=loop.create_future(),
    )


def cause(row: Row) -> str | None:
    """Why the model was not asked."""
    assert isinstance(row, Decided)
    return row.cause


def test_what_waits_is_scored_at_once(play: Callable[..., Any], flights: list[bytes]) -> None:
    """One batch of many requests, none larger than it may be; each gets its own outcomes."""

    async def scenario(engine: Engine, path: Path) -> list[int]:
        path.open.clear()
        first = engine.submit(job(flights[:1]))
        while not path.entered.is_set():
            await asyncio.sleep(0.01)
        futures = [engine.submit(job(flights[n : n + 2], number=n)) for n in range(1, 61)]
        path.open.set()
        rows = await asyncio.gather(first, *futures)
        assert [len(found) for found in rows] == [1] + [2] * 60
        made = [row for found in rows[1:] for row in found if isinstance(row, Decided)]
        ids = [row.blocks[0].split('"')[3] for row in made]
        assert ids == [f"flight-delays:@http:{p}:{n}" for n in range(1, 61) for p in (0, 1)]
        assert engine.held == 0
        return path.sizes

    sizes = play(scenario, batch=100)

    assert sizes[0] == 1
    assert sizes[1] >= 98
    assert max(sizes) <= 100
    assert sum(sizes) == 121


def test_whoever_cannot_wait_gets_the_fallback(
    play: Callable[..., Any], flights: list[bytes]
) -> None:
    """While the model hangs; the others wait for it, and nobody is answered twice."""

    async def scenario(engine: Engine, path: Path) -> None:
        path.open.clear()
        patient = engine.submit(job(flights[:2]))
        hurried = engine.submit(job(flights[2:5], seconds=0.2))
        late = engine.submit(job(flights[5:6], seconds=-1))
        assert [cause(row) for row in await hurried] == ["over_budget"] * 3
        assert [cause(row) for row in await late] == ["over_budget"]
        assert not patient.done()
        path.open.set()
        assert [cause(row) for row in await patient] == [None, None]
        assert engine.held == 0

    play(scenario)


def test_what_was_answered_otherwise_is_told(
    play: Callable[..., Any], flights: list[bytes]
) -> None:
    """A decision that comes after the fallback counts as nobody's; each event counts once."""

    async def scenario(engine: Engine, path: Path) -> list[tuple[int, list[int]]]:
        path.open.clear()
        hurried = engine.submit(job(flights[:2], seconds=0.3))
        while not path.entered.is_set():
            await asyncio.sleep(0.01)
        assert [cause(row) for row in await hurried] == ["over_budget"] * 2
        path.open.set()
        await engine.submit(job(flights[2:3]))
        return path.told

    assert play(scenario) == [(2, []), (2, [0, 1]), (1, [])]


def test_more_than_may_wait_is_refused(play: Callable[..., Any], flights: list[bytes]) -> None:
    """With the time after which it may be tried again; what waits is decided."""

    async def scenario(engine: Engine, path: Path) -> None:
        path.open.clear()
        taken = [engine.submit(job(flights[:10])) for _ in range(3)]
        with pytest.raises(Problem) as raised:
            engine.submit(job(flights[:1]))
        assert raised.value.kind is Kind.OVERLOADED
        assert raised.value.retry_after == 1
        path.open.set()
        await asyncio.gather(*taken)
        await engine.submit(job(flights[:1]))

    play(scenario, events=30)


def test_a_bad_event_harms_no_neighbour(play: Callable[..., Any], flights: list[bytes]) -> None:
    """Of its own request or another's."""

    async def scenario(engine: Engine, path: Path) -> None:
        path.open.clear()
        first = engine.submit(job(flights[:1]))
        bad = job(flights[:3])
        bad.values[1] = bad.values[1][:-3]
        mixed, other = engine.submit(bad), engine.submit(job(flights[:2]))
        path.open.set()
        await first
        one, two, three = await mixed
        assert isinstance(two, Problem)
        assert two.document()["code"] == Code.MALFORMED.value
        assert cause(one) is cause(three) is None
        assert [cause(row) for row in await other] == [None, None]

    play(scenario)


def test_an_error_of_ours_ends_its_requests_alone(
    play: Callable[..., Any], flights: list[bytes]
) -> None:
    """The thread goes on."""

    async def scenario(engine: Engine, path: Path) -> None:
        path.error = RuntimeError("a bug")
        with pytest.raises(Problem) as raised:
            await engine.submit(job(flights[:1]))
        assert raised.value.kind is Kind.BUG
        path.error = None
        assert [cause(row) for row in await engine.submit(job(flights[:1]))] == [None]
        assert engine.held == 0

    play(scenario)


def test_a_policy_to_halt_stops_deciding(play: Callable[..., Any], flights: list[bytes]) -> None:
    """Whoever asks later is told why."""

    async def scenario(engine: Engine, path: Path) -> None:
        path.error = Halt("on_model_failure is halt")
        for _ in range(2):
            with pytest.raises(Problem) as raised:
                await engine.submit(job(flights[:1]))
            assert raised.value.kind is Kind.STOPPED
        assert engine.stopped == "on_model_failure is halt"

    play(scenario)
