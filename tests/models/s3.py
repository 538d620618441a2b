"""One process's share of the test of an S3 server; runs where s3fs is installed.

`python -m tests.models.s3 URL ENDPOINT fill|write|read`
"""

from __future__ import annotations

import sys

from tests.models.stores import DEMO, digests, shipped, why
from workers.models.opening import open_store
from workers.models.store import Store
from workers.topology import ModelsPlace

CHANGES = 6


def main(url: str, endpoint: str, task: str) -> None:
    """Fill the bucket, change what serves, or read it."""
    options = {"key": "testing", "secret": "testing", "endpoint_url": endpoint}
    store = open_store(ModelsPlace.model_validate({"url": url, "options": options}))
    if task == "fill":
        _fill(store)
    elif task == "write":
        for _ in range(CHANGES):
            store.promote(DEMO, "2", why())
    else:
        print(store.aliases(DEMO).model_dump_json())


def _fill(store: Store) -> None:
    for version in ("1", "2"):
        store.put(shipped(DEMO, version))
    assert store.names() == (DEMO,)
    assert store.versions(DEMO) == ("1", "2")
    assert digests(store.fetch(DEMO, "2")) == digests(shipped(DEMO, "2"))
    store.promote(DEMO, "1", why())


if __name__ == "__main__":
    main(*sys.argv[1:])
