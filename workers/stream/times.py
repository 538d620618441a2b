"""When things of a batch were over."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """Monotonic seconds. `published` is None until it is."""

    began: float
    polled: float
    scored: float
    published: float | None = None

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage; of publishing none, until it is over."""
        published = self.scored if self.published is None else self.published
        return {
            "wait": self.polled - self.began,
            "score": self.scored - self.polled,
            "publish": published - self.scored,
        }
