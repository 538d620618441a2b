"""`workers contracts`: what schema owners do. Exit codes: 0 ok · 1 breaking · 2 error."""

# Each module adds its commands to the app.
from workers.commands.contracts import judge, publish, release
from workers.commands.contracts.common import app

__all__ = ["app", "judge", "publish", "release"]
