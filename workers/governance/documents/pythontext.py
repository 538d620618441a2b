"""Pieces of Python text for `codegen`: names that are free, docstrings, literals.

All of it as ruff's formatter leaves it.
"""

from __future__ import annotations

import builtins
import re
import textwrap
from collections.abc import Collection, Iterable

_WIDTH = 92


def class_names(full_names: Iterable[str]) -> dict[str, str]:
    """Class by full name: the last part, and as much of the namespace as tells two apart."""
    found: dict[str, str] = {}
    for full in full_names:
        parts = [part[:1].upper() + part[1:] for part in re.split(r"[._]", full)]
        least = full.rpartition(".")[2].count("_") + 1
        candidates = ["".join(parts[-count:]) for count in range(least, len(parts) + 1)]
        taken = {*found.values(), *dir(builtins)}
        free = (name for name in candidates if name.isidentifier() and name not in taken)
        found[full] = next(free, f"{candidates[-1]}{len(found)}")
    return found


def free_names(names: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Names that Python and pydantic leave free, by the names of the schema."""
    names = tuple(names)
    found: dict[str, str] = {}
    for name in names:
        bare = name.lstrip("_")  # `_x` is private to pydantic and to enums
        free = bare if bare.isidentifier() else f"x{bare}"
        if free != name or free in taken:
            free += "_"
            while free in found.values() or free in names:
                free += "_"
        found[name] = free
    return found


def docstring(doc: str) -> list[str]:
    """A class's or a field's documentation, indented by four; nothing where there is none."""
    if not doc.strip():
        return []
    escaped = doc.strip().replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if escaped.endswith('"'):
        escaped = f'{escaped[:-1]}\\"'
    lines = textwrap.wrap(escaped, _WIDTH, break_long_words=False, break_on_hyphens=False)
    closing = '"""' if len(lines) == 1 else '\n    """'
    return ['    """' + "\n    ".join(lines) + closing]


def literal(text: str) -> str:
    """A string literal in double quotes, over several lines."""
    parts = textwrap.wrap(text, _WIDTH, drop_whitespace=False, break_on_hyphens=False)
    return "(\n" + "".join(f"    {quoted(part)}\n" for part in parts) + ")"


def quoted(text: str) -> str:
    """As ruff's formatter writes it: the quote that needs fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + text.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote


def allowed(text: str) -> str:
    """The module with the exemptions from ruff's rules that it needs, and no other."""
    rules = [("E501", any(len(line) > 100 for line in text.splitlines()))]
    rules.append(("N815", bool(re.search(r"^    [a-z]+[A-Z]\w*: ", text, re.MULTILINE))))
    needed = ", ".join(rule for rule, is_needed in rules if is_needed)
    return f"# ruff: noqa: {needed}\n{text}" if needed else text
