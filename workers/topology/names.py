"""Names as Kafka and registries take them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Subject = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,255}$")]
