"""What a schema owner looks at: do events fit their contracts, and are they fresh?"""

from __future__ import annotations

from typing import Any

from deploy.observability.dashboards.grafana import RED, YELLOW, Panel, Query, Row, dashboard
from deploy.observability.dashboards.queries import (
    all_per_second,
    buckets,
    in_range,
    now,
    per_second,
    quantile,
)
from workers.telemetry import names as n

_CONTRACT = 'verdict=~"decode|contract"'
_WAITS = 'reason="schema"'
_EVENTS = 'event=~"contracts[.].*"'

FIT = Row(
    "Do events fit?",
    [
        Panel(
            title="Refused for their bytes or schema",
            says="Part of the records with verdict decode or contract.",
            queries=[
                Query(
                    f"({all_per_second(n.DEAD_LETTERS, _CONTRACT)} or vector(0)) / "
                    f"{all_per_second(n.RECORDS)}"
                )
            ],
            kind="stat",
            unit="percentunit",
            width=6,
            limits={YELLOW: 0.0001, RED: 0.001},
        ),
        Panel(
            title="Partitions that wait for a schema",
            says="A record names an id that no contract has; runbook SchemaAwaited.",
            queries=[Query(f"sum({now(n.PAUSED, _WAITS)})")],
            kind="stat",
            width=6,
            limits={RED: 1},
        ),
        Panel(
            title="Dead letters by verdict and code",
            says="decode: bytes that are no record; contract: a schema unknown or not to be read; "
            "feature: values out of their range; output: too large, or refused.",
            queries=[Query(per_second(n.DEAD_LETTERS, "verdict", "code"), "{{verdict}}: {{code}}")],
            unit="rps",
            width=12,
            stacked=True,
        ),
        Panel(
            title="Contracts: what was found, refused, denied",
            says="contracts.unwell: the registry does not answer; contracts.content_changed: "
            "somebody changed a released version; contracts.version_unusable: see the log event.",
            queries=[Query(in_range(n.LOG_EVENTS, "event", match=_EVENTS), "{{event}}")],
            width=12,
        ),
        Panel(
            title="Records that left no event",
            says="Dropped by a declared policy, or on their way through a retry topic.",
            queries=[
                Query(
                    per_second(n.RECORDS, "outcome", match='outcome=~"dropped|delayed"'),
                    "{{outcome}}",
                )
            ],
            unit="rps",
            width=12,
        ),
    ],
)

FRESH = Row(
    "Are events fresh? (where `staleness` is declared)",
    [
        Panel(
            title="Age of events when they are read",
            says="By the event's own time, `staleness.field`.",
            queries=[Query(quantile(q, n.EVENT_AGE), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)],
            unit="s",
        ),
        Panel(
            title="Age of events, all of them",
            says="A second band is a producer that sends late, or a replay.",
            queries=[Query(buckets(n.EVENT_AGE), "{{le}}", "heatmap")],
            kind="heatmap",
            unit="s",
            least=None,
        ),
        Panel(
            title="Stale events, by what became of them",
            says="Older than `staleness.limit`; runbook EventsStale.",
            queries=[Query(per_second(n.STALE, "policy"), "{{policy}}")],
            unit="rps",
            stacked=True,
        ),
    ],
)

VALUES = Row(
    "Are values as they were?",
    [
        Panel(
            title="Missing values by feature",
            says="A field that a producer no longer fills shows here first.",
            queries=[Query(f"max by (feature) ({now(n.MISSING)})", "{{feature}}")],
            unit="percentunit",
            width=12,
            most=1,
        ),
        Panel(
            title="Unknown categories by feature",
            says="A code that a producer added, or spells in another way.",
            queries=[Query(f"max by (feature) ({now(n.UNSEEN)})", "{{feature}}")],
            unit="percentunit",
            width=12,
            most=1,
        ),
    ],
)


def board() -> dict[str, Any]:
    """The dashboard."""
    says = "Do events fit their contracts, and are they fresh?"
    return dashboard("workers-contracts", "Workers: contracts", says, (FIT, FRESH, VALUES))
