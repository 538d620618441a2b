"""Envelope encryption of dead-letter values.

A value is encrypted with AES-256-GCM (NIST SP 800-38D) under a data key made here; the data key is
wrapped by the key that the topology names, with AES key wrap (RFC 3394) where that is a file, by
the user's own code where it is a KMS. Wrapped key and nonce are in the header `__workers.sealed`.
Where the record came from is bound to it: a value that is put behind other headers does not open.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_wrap,
)

from workers.errors import ClientHalt, Retry
from workers.stream.deadletters import SEALED
from workers.topology import Encryption

KEY_BYTES, NONCE_BYTES = 32, 12
USES = 2**20
"""Values under one data key: far below the 2**32 random nonces that GCM allows (section 8.3)."""
KEPT = 64
"""Unwrapped data keys that an opener remembers."""


class Keys(Protocol):
    """The key that wraps data keys. Either call may raise whatever it likes."""

    def wrap(self, key: bytes) -> bytes:
        """The data key, encrypted."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key that was wrapped."""
        ...


class FileKeys:
    """A key of 32 bytes in a file, in Base64."""

    def __init__(self, file: Path) -> None:
        """Read it.

        Raises:
            ClientHalt: it cannot be read, or is no such key.
        """
        try:
            key = base64.b64decode(file.read_text().strip(), validate=True)
        except OSError as error:
            raise ClientHalt(f"{file}: cannot be read: {error.strerror}") from error
        except (ValueError, binascii.Error) as error:
            raise ClientHalt(f"{file}: not Base64; `openssl rand -base64 32` makes one") from error
        if len(key) != KEY_BYTES:
            raise ClientHalt(f"{file}: {len(key)} bytes, not {KEY_BYTES}")
        self._key = key

    def wrap(self, key: bytes) -> bytes:
        """RFC 3394."""
        return aes_key_wrap(self._key, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """RFC 3394.

        Raises:
            InvalidUnwrap: it was wrapped by another key.
        """
        return aes_key_unwrap(self._key, wrapped)


def keys_of(settings: Encryption) -> Keys:
    """The key that a topology names.

    Raises:
        ClientHalt: its file, or the user's code, cannot be used.
    """
    if settings.key_file is not None:
        return FileKeys(settings.key_file)
    module, _, name = str(settings.hook).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ClientHalt(f"dead_letter.encryption.hook {settings.hook}: {error}") from error
    if not (callable(getattr(found, "wrap", None)) and callable(getattr(found, "unwrap", None))):
        raise ClientHalt(f"dead_letter.encryption.hook {settings.hook}: no wrap and unwrap")
    hook: Keys = found
    return hook


class Sealer:
    """Encrypts values; used from one thread at a time."""

    def __init__(self, keys: Keys, key_id: str) -> None:
        """Make the first data key.

        Raises:
            Retry: it cannot be wrapped now.
        """
        self._keys = keys
        self._key_id = key_id
        self._left = 0
        self._renew()

    def seal(self, value: bytes, place: str) -> tuple[bytes, tuple[str, bytes]]:
        """The encrypted value, 16 bytes longer, and the header that goes with it.

        `place` is the record's origin, `topic:partition:offset`.

        Raises:
            Retry: a new data key is due and cannot be wrapped now.
        """
        if self._left == 0:
            self._renew()
        self._left -= 1
        nonce = os.urandom(NONCE_BYTES)
        said = {"v": 1, "kid": self._key_id, "key": self._wrapped, "nonce": _text(nonce)}
        sealed = self._cipher.encrypt(nonce, value, place.encode())
        return sealed, (SEALED, json.dumps(said, separators=(",", ":")).encode())

    def _renew(self) -> None:
        key = AESGCM.generate_key(KEY_BYTES * 8)
        try:
            self._wrapped = _text(self._keys.wrap(key))
        except Exception as error:
            # Whatever a KMS raises: nothing leaves unencrypted, and its text may hold secrets.
            raise Retry(f"a data key cannot be wrapped: {type(error).__name__}") from error
        self._cipher = AESGCM(key)
        self._left = USES


class Opener:
    """Decrypts values of dead letters."""

    def __init__(self, keys: Keys) -> None:
        """Nothing is asked of `keys` before a value is opened."""
        self._keys = keys
        self._known: OrderedDict[str, AESGCM] = OrderedDict()

    def open(self, value: bytes, header: bytes, place: str) -> bytes:
        """The value as it was before `Sealer.seal`.

        Raises:
            Retry: the key cannot be had, is another one, or value or origin were changed.
        """
        try:
            said: Any = json.loads(header)
            wrapped, nonce = str(said["key"]), base64.b64decode(said["nonce"], validate=True)
            return self._cipher(wrapped).decrypt(nonce, value, place.encode())
        except (ValueError, KeyError, TypeError) as error:
            raise Retry(f"{place}: the header {SEALED} is malformed") from error
        except InvalidTag as error:
            raise Retry(f"{place}: the value or its origin was changed") from error

    def _cipher(self, wrapped: str) -> AESGCM:
        if wrapped not in self._known:
            try:
                key = self._keys.unwrap(base64.b64decode(wrapped, validate=True))
            except InvalidUnwrap as error:
                raise Retry("the data key was wrapped by another key") from error
            except Exception as error:
                raise Retry(f"the data key cannot be had: {type(error).__name__}") from error
            self._known[wrapped] = AESGCM(key)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return self._known[wrapped]


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
