"""Names as Kafka, registries and stores of models take them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Subject = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,255}$")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Of a model or a version: a folder's name, so never a path."""
InstanceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:@-]{0,200}$")]
"""Goes into client and transactional ids, headers and logs; empty for the host's."""
