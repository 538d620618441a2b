"""Values of dead letters that only the holder of a key can read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from workers.topology.security import Part


class Encryption(Part):
    """Envelope encryption: a data key of our own encrypts the values, your key encrypts that."""

    key_file: Path | None = Field(
        default=None, description="32 random bytes in Base64, as `openssl rand -base64 32` writes."
    )
    hook: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = Field(
        default=None,
        description="Instead of a file, `module:name` of an object with `wrap(bytes) -> bytes` and "
        "`unwrap(bytes) -> bytes`: your KMS.",
    )
    key_id: Annotated[str, Field(pattern=r"^[\w./:-]{1,200}$")] = Field(
        default="default", description="Names the key in the dead letter's header."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.key_file is None) == (self.hook is None):
            raise ValueError("encryption: give one of key_file and hook")
        return self
