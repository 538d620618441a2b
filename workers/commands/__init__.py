"""Groups of commands, one module a noun; `workers/cli.py` hangs them into the command."""
