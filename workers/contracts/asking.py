"""Where a server is that we ask by HTTP, and who we say we are."""

from __future__ import annotations

import base64
from collections.abc import Callable

from workers.errors import Retry, TopologyError
from workers.topology.contracts import HttpPlace
from workers.topology.security import secret

Authorize = Callable[[], str | None]
"""The Authorization header of the next request; None for none."""


def base_url(place: HttpPlace) -> str:
    """Scheme, host and path, without a slash at its end."""
    url = place.url
    host = f"{url.host}:{url.port}" if url.port else str(url.host)
    return f"{url.scheme}://{host}{(url.path or '').rstrip('/')}"


def authorization(place: HttpPlace) -> Authorize:
    """How we say who we are: HTTP Basic, a token, or not at all."""
    basic, bearer = place.basic, place.bearer
    if basic is not None:

        def password() -> str:
            try:
                pair = f"{basic.username}:{secret(basic.password, basic.password_file)}"
            except TopologyError as error:
                raise Retry(str(error)) from error
            return f"Basic {base64.b64encode(pair.encode()).decode()}"

        return password
    if bearer is None:
        return lambda: None

    def token() -> str:
        try:
            # Read anew each time: whoever rotates tokens writes the file again.
            text = bearer.token_file.read_text() if bearer.token_file else ""
        except (OSError, UnicodeDecodeError) as error:
            raise Retry(f"token file {bearer.token_file} cannot be read") from error
        found = (bearer.token.get_secret_value() if bearer.token else text).strip()
        if not found or not found.isascii() or not found.isprintable():
            raise Retry("the bearer token is empty, or not one line of ASCII")
        return f"Bearer {found}"

    return token
