"""A feedback loop of the demo's worker."""

from __future__ import annotations

from typing import Any

from workers.topology import Feedback


def feedback_loop(**outcomes: Any) -> Feedback:
    """`flights`, with other outcomes."""
    said = {
        "topic": "flights.outcomes",
        "subject": "flights.outcomes-value",
        "decision_id": "decision_id",
        "label": "arrival_delay > 15",
        "known_at": "landed_at",
    }
    return Feedback.model_validate(
        {
            "name": "flights",
            "worker": "flight-delays",
            "matures": "24h",
            "lake": {"directory": "lake"},
            "outcomes": {**said, **outcomes},
        }
    )
