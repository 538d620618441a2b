"""What decides now, for one block of a worker."""

from __future__ import annotations

from dataclasses import dataclass

from workers.models.model import Model


@dataclass(frozen=True, slots=True)
class Canary:
    """A challenger that decides for a share of the keys, 0 to 1."""

    model: Model
    share: float


@dataclass(frozen=True, slots=True)
class Serving:
    """A model, or nothing of it while `bypass` says why; and a canary beside it."""

    model: Model
    bypass: str | None = None
    canary: Canary | None = None

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model that may be asked, the champion first."""
        return (self.model,) if self.canary is None else (self.model, self.canary.model)
