"""Lives of one worker that end when they are told to: forked, so that a life costs no start-up.

`python -m tests.faults.zygote TOPOLOGY INSTANCE` reads one life a line from standard input:
`FAILPOINT COUNT` ends the process with SIGKILL the COUNT-th time the path comes by FAILPOINT;
`- 0` runs until killed or until SIGTERM. It answers `born PID`, then `dead STATUS`.

Nothing that starts a thread (Kafka clients, polars, Arrow) runs before the fork. The bundle is
proven once before the first life, in a process of its own as ever, and not again in each.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from workers.contracts.directory import read_directory
from workers.models.bundle import read_bundle
from workers.models.verify import verify
from workers.stream.logs import configure_logging
from workers.topology import Topology, Worker, load
from workers.wiring import build_enricher, build_loop, models, pick


def main(topology: Path, instance: str) -> None:
    """Serve lives until standard input ends."""
    loaded = load(topology)
    worker = pick(loaded, None).model_copy(update={"instance": instance})
    prove(loaded, worker)
    for line in sys.stdin:
        name, count = line.split()
        pid = os.fork()
        if pid == 0:
            _live(loaded, worker, name, int(count))
        print(f"born {pid}", flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"dead {status}", flush=True)


def prove(topology: Topology, worker: Worker) -> None:
    """As `wiring.models.proven` does, for every life to come."""
    contracts, bundles = topology.contracts.directory, topology.models.directory
    assert contracts is not None
    assert bundles is not None
    assert worker.model.version is not None
    bundle = read_bundle(bundles, worker.model.name, worker.model.version)
    built = bundle.manifest.contract
    versions = read_directory(contracts).catalogue.versions(built.subject)
    verify(bundle, versions[built.version].schema)
    models.verify = lambda *_: None  # type: ignore[attr-defined]


def _live(topology: Topology, worker: Worker, name: str, count: int) -> None:
    code = 1
    try:
        configure_logging()
        left = count

        def at(place: str) -> None:
            nonlocal left
            if place == name:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        running = build_loop(topology, worker, build_enricher(topology, worker), at=at)
        signal.signal(signal.SIGTERM, lambda _, __: running.loop.stop())
        running.loop.run()
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
