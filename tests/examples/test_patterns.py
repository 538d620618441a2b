"""Every pattern with one model, run as the example runs it."""

from __future__ import annotations

from examples.patterns.__main__ import run


def test_every_way_says_the_same_and_all_of_it_is_learned_from() -> None:
    """Worker, sidecar's headers, gateway's answer, the proxy's headers: bit for bit.

    The worker's decisions and the six that were asked for have outcomes, and a version is made.
    """
    found = run(4000)

    assert len(found.said) == 3
    for said in found.said.values():
        assert len({each.way for each in said}) == 4
        assert len({(each.score, each.decision) for each in said}) == 1
    assert found.learned.decisions == 3006
    assert found.learned.known == 3006
    assert 0 < found.learned.log_loss < 0.69
    assert found.learned.version == "3"
    assert (found.verdict.challenger, found.verdict.champion) == ("3", "1")
    assert found.verdict.rows >= 1000
    assert [rule.said for rule in found.verdict.rules if rule.name == "golden rows" and rule.passed]
