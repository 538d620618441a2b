"""Every pattern with one model, run as the example runs it."""

from __future__ import annotations

from examples.patterns.__main__ import run


def test_every_way_says_the_same() -> None:
    """Worker, sidecar's headers, gateway's answer, the proxy's headers: bit for bit."""
    found = run(50)

    assert len(found) == 3
    for _, said in found:
        assert len({each.way for each in said}) == 4
        assert len({(each.score, each.decision) for each in said}) == 1
