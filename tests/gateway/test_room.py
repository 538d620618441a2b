"""How many may ask at once: by a clock of the test, against a gateway that is made of a queue."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from workers.gateway.room import FIRST, MOST, PAUSE, Room


@dataclass(slots=True)
class Queue:
    """Answers one after another, each in `service` seconds, however long it is waited for."""

    service: float
    free: float = 0.0
    now: float = 0.0
    decided: int = 0
    late: int = 0
    turned_away: int = 0
    waiting: list[tuple[float, int, int, bool]] = field(default_factory=list)

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def offer(self, room: Room, *, rate: float, seconds: float, budget: float) -> None:
        """So many questions a second, evenly, for so long."""
        until, number = self.now + seconds, 0
        while self.now < until:
            self.end(room, self.now)
            if room.shut or room.full:
                self.turned_away += 1
            else:
                entered = room.enter()
                self.free = max(self.now, self.free) + self.service
                in_time = self.free - self.now <= budget
                over = self.free if in_time else self.now + budget
                heapq.heappush(self.waiting, (over, number, entered, in_time))
            number += 1
            self.now += 1 / rate

    def end(self, room: Room, until: float) -> None:
        """Those whose answer, or the end of their patience, has come by then."""
        while self.waiting and self.waiting[0][0] <= until:
            _, _, entered, in_time = heapq.heappop(self.waiting)
            room.leave(entered, in_time=in_time)
            self.decided += in_time
            self.late += not in_time


def test_a_gateway_that_keeps_up_turns_nobody_away() -> None:
    """Half of what it can do."""
    queue = Queue(service=0.001)
    room = Room(queue.clock)

    queue.offer(room, rate=500, seconds=20, budget=0.05)

    assert (queue.late, queue.turned_away) == (0, 0)


def test_of_twice_what_it_can_do_most_of_its_work_is_in_time() -> None:
    """Where all would ask, the queue would be longer than everybody's patience, and none would."""
    queue = Queue(service=0.001)
    room = Room(queue.clock)

    queue.offer(room, rate=2_000, seconds=20, budget=0.05)

    # It can do 1,000 a second.
    assert queue.decided > 0.9 * 20_000
    assert queue.late < 0.1 * queue.decided


def test_one_that_recovers_is_asked_by_all_again() -> None:
    """After a silence with one question a second."""
    queue = Queue(service=10.0)
    room = Room(queue.clock)
    queue.offer(room, rate=500, seconds=10, budget=0.05)
    assert queue.decided == 0
    # The first ones halve it, then each that asks alone waits for nothing.
    assert queue.late <= 2 * FIRST + 10 / PAUSE

    queue.service, queue.free = 0.001, 0.0
    queue.offer(room, rate=500, seconds=2 * PAUSE, budget=0.05)
    asked = queue.decided
    queue.offer(room, rate=500, seconds=10, budget=0.05)

    assert queue.decided - asked >= 4_990


def test_the_last_one_that_had_no_answer_shuts_it() -> None:
    """Five of one after another, as long as nothing else is known."""
    now = [0.0]
    room = Room(lambda: now[0])
    shut = list[bool]()
    for _ in range(5):
        room.leave(room.enter(), in_time=False)
        shut.append(room.shut)
    now[0] = PAUSE
    shut.append(room.shut)
    room.leave(room.enter(), in_time=True)
    shut.append(room.shut)

    assert shut == [False, False, False, False, True, False, False]
    assert not room.full


def test_who_no_longer_wants_an_answer_says_nothing() -> None:
    """A client that went away is no word about the gateway."""
    room = Room(lambda: 0.0)
    for _ in range(100):
        room.leave(room.enter(), in_time=None)

    for _ in range(FIRST):
        assert not room.full
        room.enter()
    assert room.full


def test_there_is_an_end_to_it() -> None:
    """However well it goes."""
    room = Room(lambda: 0.0)
    for _ in range(MOST * 2):
        room.leave(room.enter(), in_time=True)
    for _ in range(MOST):
        assert not room.full
        room.enter()
    assert room.full
