"""A Dask cluster for one training: its own processes on this machine, or a scheduler's workers."""

from __future__ import annotations

import importlib
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from typing import Any

from workers.errors import ModelError
from workers.feedback.learning.remote import builds, quiet
from workers.topology.feedback import Dask

LOOK_EVERY = 1.0
"""Seconds between two looks whether all workers are still there."""


class Cluster:
    """Workers in a fixed order. What is given to one stays there, and never moves to another."""

    def __init__(self, client: Any, workers: Sequence[str]) -> None:
        self.client = client
        self.workers = tuple(workers)

    def on(self, worker: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """A future of the work's result, which is kept by that worker until the future is gone."""
        return self.client.submit(
            work, *arguments, workers=[worker], allow_other_workers=False, pure=False
        )

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """What they come to, here."""
        return list(self.client.gather(list(futures)))

    def everywhere(self, value: Any) -> Any:
        """A future of a value that every worker has."""
        return self.client.scatter(value, workers=list(self.workers), broadcast=True, hash=False)


@contextmanager
def opened(settings: Dask, threads: int) -> Iterator[Cluster]:
    """As many workers as are declared; `threads` are those of each process that is started here.

    Raises:
        ModelError: the extra is not installed, the workers did not come in time or have another
            build, or one of them is lost before the end.
    """
    distributed = _distributed()
    watch: _Watch | None = None
    try:
        with ExitStack() as stack:
            client = stack.enter_context(_client(distributed, settings, threads, stack))
            client.wait_for_workers(settings.workers, timeout=settings.timeout)
            known = sorted(client.scheduler_info(n_workers=-1)["workers"])
            cluster = Cluster(client, known[: settings.workers])
            _alike(cluster)
            watch = stack.enter_context(_Watch(cluster))
            yield cluster
    except (OSError, TimeoutError, CancelledError, distributed.KilledWorker) as error:
        if watch is not None and watch.lost:
            raise ModelError(
                f"lost while training: {', '.join(watch.lost)}; begin again"
            ) from error
        raise ModelError(f"retrain.dask: {str(error) or type(error).__name__}") from error


def _client(distributed: Any, settings: Dask, threads: int, stack: ExitStack) -> Any:
    """Of the scheduler that is named, else of processes that end with the training."""
    if settings.scheduler is not None:
        return distributed.Client(settings.scheduler, timeout=settings.timeout)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="workers-dask-"))
    try:
        local = distributed.LocalCluster(
            n_workers=settings.workers,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            # Of None it would take 8787, or warn that another cluster has it.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            local_directory=folder,
            silence_logs=logging.ERROR,
        )
    except RuntimeError as error:
        raise ModelError(f"retrain.dask: {error}") from error
    client = distributed.Client(stack.enter_context(local))
    client.run(quiet)
    return client


def _alike(cluster: Cluster) -> None:
    """The same code and libraries as here: what they read and compute is ours."""
    ours = builds()
    try:
        found = cluster.client.run(builds, workers=list(cluster.workers))
    except ImportError as error:
        raise ModelError(
            f"retrain.dask: a worker cannot import this package ({error}): install "
            "'enrichment-workers[dask]' there"
        ) from error
    for worker, theirs in found.items():
        if theirs != ours:
            other = {n: theirs.get(n) for n in ours if theirs.get(n) != ours[n]}
            raise ModelError(
                f"retrain.dask: {worker} has {other}, here it is { ({n: ours[n] for n in other}) }"
            )


class _Watch:
    """Ends the client's waiting when a worker is gone: what is bound to one would wait for ever.

    LightGBM's own workers notice only where a connection breaks (LightGBM #5920).
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="dask-watch", daemon=True)
        self.lost: list[str] = []

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        client = self._cluster.client
        while not self._over.wait(LOOK_EVERY):
            try:
                there = client.scheduler_info(n_workers=-1)["workers"]
            except (OSError, TimeoutError, CancelledError):
                there = {}
            self.lost = [worker for worker in self._cluster.workers if worker not in there]
            if self.lost:
                client.close()
                return


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ModelError(
            "retrain.dask needs the extra: pip install 'enrichment-workers[dask]'"
        ) from error
