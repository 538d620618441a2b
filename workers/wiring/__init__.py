"""The one place where parts are put together: files, clients, the loop.

A module is named for what it puts together. `gateway` is imported by who serves, and by nobody
here: what it needs is an extra.
"""

from workers.wiring.cluster import check_broker
from workers.wiring.contracts import contracts_of
from workers.wiring.declared import models_of, pick, policy_of, topics_of
from workers.wiring.letters import build_replay
from workers.wiring.models import load_model
from workers.wiring.path import build_enricher, build_path, prove
from workers.wiring.ranges import build_range_reader
from workers.wiring.reporting import board_of
from workers.wiring.stream import Running, build_loop

__all__ = [
    "Running",
    "board_of",
    "build_enricher",
    "build_loop",
    "build_path",
    "build_range_reader",
    "build_replay",
    "check_broker",
    "contracts_of",
    "load_model",
    "models_of",
    "pick",
    "policy_of",
    "prove",
    "topics_of",
]
