"""What all drills of one run share: the user's worker as a document, its models copied, events."""

from __future__ import annotations

import base64
import datetime
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.framing import PREFIX
from workers.enrich.batch import Batch
from workers.errors import ContractError, ModelError, TopologyError
from workers.governance.examples import read_examples
from workers.models.bundle import Bundle
from workers.models.opening import open_store
from workers.models.store import Change, Store
from workers.topology import Topology, Worker, load
from workers.wiring import build_enricher, contracts_of, models_of, pick

INSTANCE = "WORKERS_DRILL_INSTANCE"
"""The environment variable that tells processes of one drill apart."""
LEFT_OUT = frozenset({"shadow", "sequence", "group", "transactional_id", "principal", "replicas"})
ROLES = ("input", "output", "dead_letter", "decisions")
NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True, slots=True)
class Setup:
    """A run of drills.

    `document` is the user's worker alone, without broker, topics and group; `worker` the user's as
    it was loaded. `events` are framed values that the worker enriches; `models` a directory store
    with copies of the bundles that it serves.
    """

    folder: Path
    document: dict[str, Any]
    contracts: dict[str, Any]
    worker: Worker
    catalogue: Catalogue
    events: tuple[bytes, ...]
    models: Path
    entry: Registered

    @property
    def output_fields(self) -> tuple[str, ...]:
        """The enrichment blocks of the output, in order."""
        return tuple(models_of(self.worker))

    @property
    def store(self) -> Store:
        """The copied bundles."""
        return Store(self.models)


def prepare(path: Path, name: str | None, folder: Path) -> Setup:
    """Read the user's topology and copy what drills need into `folder`.

    Raises:
        Halt: topology, contracts or model cannot be used, as at a worker's start.
    """
    loaded = load(path)
    worker = pick(loaded, name)
    if worker.tier is not None:
        raise TopologyError(f"drill {worker.tier.worker}: {worker.name} retries for it")
    resolver = contracts_of(loaded, worker)
    resolver.close()
    models = folder / "models"
    models.mkdir()
    bundles = _copied_models(loaded, worker, models)
    raw = YAML(typ="safe").load(path.read_text())
    document = _plain_worker(raw["workers"][worker.name], worker, bundles)
    built = bundles[0].manifest.contract.version
    setup = Setup(
        folder=folder,
        document=document,
        contracts=_contracts(loaded, raw["contracts"], folder),
        worker=worker,
        catalogue=resolver.catalogue,
        events=(),
        models=models,
        entry=resolver.catalogue.versions(worker.input.subject)[built],
    )
    datums = [base64.b64decode(row.datum) for row in bundles[0].golden.rows]
    if loaded.contracts.directory is not None:
        subject = loaded.contracts.directory / worker.input.subject
        datums += [example.datum for example in read_examples(subject, setup.entry)]
    return replace(setup, events=_enrichable(setup, datums))


def write_topology(  # noqa: PLR0913  what a drill changes, by keyword
    setup: Setup,
    file: Path,
    *,
    servers: str,
    tag: str,
    changes: Mapping[str, Any],
    contracts: Mapping[str, Any] | None = None,
    models: Path | None = None,
) -> Path:
    """The user's worker with topics, group and ids of a drill's own, as a topology file.

    `changes` are keys of the worker; `contracts` and `models` replace where they come from.
    """
    worker = {**setup.document, **changes}
    for role in ROLES:
        if (part := getattr(setup.worker, role)) is not None:
            named = {"topic": f"drill.{tag}.{part.topic}"}
            if role != "dead_letter":
                named["subject"] = part.subject
            worker[role] = {**worker[role], **named}
    worker |= {"group": f"drill.{tag}", "transactional_id": f"drill.{tag}"}
    # A group that is new may begin: there is nothing in its topics that was not sent for it.
    worker["first_start"] = "earliest"
    document = {
        "version": 1,
        "broker": {"bootstrap_servers": servers},
        "contracts": contracts or setup.contracts,
        "models": {"directory": str(models or setup.models)},
        "state": str(setup.folder / f"state.{tag}"),
        "workers": {setup.worker.name: worker},
    }
    # JSON is YAML; variables of theirs stay variables, so that no secret is written.
    file.write_text(json.dumps(document, indent=1, default=str))
    return file


def why(did: str) -> Change:
    """A change of the drill's own store."""
    now = datetime.datetime.now(datetime.UTC)
    return Change(when=now, who="workers drill", why="a drill", did=did)


def tag() -> str:
    """Tells one drill's topics and group from all others."""
    return uuid.uuid4().hex[:8]


def _copied_models(loaded: Topology, worker: Worker, models: Path) -> list[Bundle]:
    """The versions that the worker serves now, by the order of its blocks."""
    theirs, ours = open_store(loaded.models), Store(models)
    found = []
    for ref in models_of(worker).values():
        version = ref.version or (theirs.served(ref.name, ref.alias) if ref.alias else None)
        if version is None:
            raise ModelError(f"model {ref.name} has no {ref.alias} to drill with")
        fetched = theirs.fetch(ref.name, version)
        if version not in ours.versions(ref.name):
            ours.put(fetched)
        found.append(fetched.bundle)
    theirs.close()
    return found


def _plain_worker(
    written: dict[str, Any], worker: Worker, bundles: Sequence[Bundle]
) -> dict[str, Any]:
    """The worker as it is written, its models pinned, without what a drill gives it."""
    left = {key: value for key, value in written.items() if key not in LEFT_OUT}
    left["instance"] = f"${{{INSTANCE}}}"
    left["dead_letter"] = {
        key: value
        for key, value in left["dead_letter"].items()
        # Encrypted values could not be held against what was sent, and nobody replays in a drill.
        if key not in ("encryption", "ledger")
    }
    if isinstance(left.get("retries"), dict):
        left["retries"] = {key: v for key, v in left["retries"].items() if key != "topics"}
    pins = [bundle.manifest.version for bundle in bundles]
    left["model"] = _pinned(left["model"], pins[0])
    if worker.blocks:
        blocks = zip(worker.blocks, pins[1:], strict=True)
        left["blocks"] = {
            name: {
                **left["blocks"][name],
                "model": _pinned(left["blocks"][name]["model"], version),
            }
            for name, version in blocks
        }
    return left


def _pinned(ref: dict[str, Any], version: str) -> dict[str, Any]:
    return {**{key: v for key, v in ref.items() if key != "alias"}, "version": version}


def _contracts(loaded: Topology, written: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Theirs, read only: what a registry gives is kept in the drill's folder."""
    made: dict[str, Any] = {}
    if loaded.contracts.directory is not None:
        made["directory"] = str(loaded.contracts.directory.resolve())
    if loaded.contracts.registry is not None:
        made["registry"] = {**written["registry"], "cache": str(folder / "contracts")}
    return made


def _enrichable(setup: Setup, datums: Sequence[bytes]) -> tuple[bytes, ...]:
    """Those of the events, framed, that the worker enriches as they are."""
    values: list[bytes | None] = [setup.entry.frame + datum for datum in datums]
    count = len(values)
    batch = Batch(
        "drill",
        0,
        keys=[b"drill"] * count,
        values=values,
        headers=[None] * count,
        partitions=[0] * count,
        offsets=list(range(count)),
        timestamps=[(1, 0)] * count,
    )
    file = write_topology(
        setup, setup.folder / "events.yaml", servers=NOWHERE, tag=tag(), changes={}
    )
    own = load(file, {**os.environ, INSTANCE: "drill"})
    enriched = build_enricher(own, own.workers[setup.worker.name]).enrich(batch).enriched
    good = tuple(
        value
        for row, value in enumerate(values)
        if value is not None and (enriched.get(row) or b"")[PREFIX:].startswith(value[PREFIX:])
    )
    if not good:
        raise ContractError(
            f"{setup.entry}: the worker enriches none of its {count} golden events, so there is "
            "nothing to drill with; add examples that it enriches beside the schema"
        )
    return good
