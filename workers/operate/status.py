"""Asks running processes how they are, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import httpx2

from workers.topology import Health

SECONDS = 5.0
MOST = 256
"""Processes of a host at most, as `workers run --processes` has it."""
LARGEST = 16 * 1024**2
"""Bytes of an answer at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One process: its `/status`, or why there is none."""

    url: str
    status: Mapping[str, Any] | None
    why: str = ""

    @property
    def well(self) -> bool:
        """Did it answer that it is ready?"""
        return self.status is not None and self.status.get("ready") is True


def here(settings: Health, processes: int | None) -> list[Asked]:
    """The processes of this host: so many, or as many as answer one after the other."""
    found = []
    for slot in range(processes or MOST):
        asked = ask(url(settings, slot))
        if processes is None and slot and asked.status is None:
            break
        found.append(asked)
        if processes is None and asked.status is None:
            break
    return found


def url(settings: Health, slot: int) -> str:
    """Where the process of a slot listens, as this host reaches it."""
    address = ip_address(settings.address)
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{host}:{settings.port + slot}"


def every(urls: Iterable[str]) -> list[Asked]:
    """Those processes."""
    return [ask(given.removesuffix("/status").rstrip("/")) for given in urls]


def ask(base: str) -> Asked:
    """One process."""
    try:
        with httpx2.Client(timeout=SECONDS, trust_env=False) as client:
            answer = client.get(f"{base}/status")
        if len(answer.content) > LARGEST:
            return Asked(base, None, f"an answer of {len(answer.content)} bytes")
        found = json.loads(answer.content)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return Asked(base, None, f"{type(error).__name__}: {error}")
    except ValueError:
        return Asked(base, None, "the answer is not JSON: is it a worker?")
    if not isinstance(found, dict) or "phase" not in found:
        return Asked(base, None, "the answer is no worker's")
    return Asked(base, found)
