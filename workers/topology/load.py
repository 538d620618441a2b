"""Read topology.yaml: every fault at once, each with its line and field, no secret shown."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    ScalarEvent,
)

from workers.errors import TopologyError
from workers.topology.model import Topology, relative_to

MAX_BYTES = 1_000_000
MAX_NESTING = 32
_VARIABLE = re.compile(r"\$(\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")
Place = tuple[str | int, ...]
Loaded = TypeVar("Loaded", bound=BaseModel)


def load(path: Path, env: Mapping[str, str] | None = None) -> Topology:
    """Read and check a topology; `env` takes the place of the process's environment.

    Raises:
        TopologyError: the file cannot be used; its text has a line for every fault.
    """
    values = os.environ if env is None else env
    return load_as(Topology, path, values, lambda plain: relative_to(plain, path.parent.resolve()))


def load_as(
    model: type[Loaded],
    path: Path,
    env: Mapping[str, str] | None = None,
    prepare: Callable[[Any], Any] = lambda plain: plain,
) -> Loaded:
    """Read a YAML file as `model`; variables are substituted where there is an `env`.

    Raises:
        TopologyError: the file cannot be used; its text has a line for every fault.
    """
    document = _parse(path)
    lines: dict[Place, int] = {}
    missing: list[tuple[Place, str]] = []
    plain = _plain(document, (), lines, env, missing)
    faults = [(place, text) for place, text in missing]
    loaded = None
    try:
        loaded = model.model_validate(prepare(plain))
    except ValidationError as error:
        unset = {place for place, _ in missing}
        faults += [fault for fault in _faults(error, model) if fault[0] not in unset]
    if loaded is None or faults:
        whole = model.__name__.lower()
        raise TopologyError("\n".join(_describe(path, lines, whole, *fault) for fault in faults))
    return loaded


def environment(prefix: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables whose name begins so, for those who declare themselves there: `OTEL_`."""
    values = os.environ if env is None else env
    return {name: value for name, value in values.items() if name.startswith(prefix)}


def user_cache(env: Mapping[str, str] | None = None) -> Path:
    """Where contracts of registries are kept, unless the topology names a place."""
    return user_folder("cache", env) / "contracts"


def user_folder(kind: Literal["cache", "state"], env: Mapping[str, str] | None = None) -> Path:
    """A folder of this user's that is ours.

    `$XDG_CACHE_HOME`, else `~/.cache`, or `$XDG_STATE_HOME`, else `~/.local/state` (XDG Base
    Directory Specification), and our name below it.
    """
    values = os.environ if env is None else env
    home = values.get(f"XDG_{kind.upper()}_HOME") or ""
    usual = {"cache": ".cache", "state": ".local/state"}[kind]
    # The specification wants relative paths to be ignored.
    base = Path(home) if Path(home).is_absolute() else Path.home() / usual
    return base / "enrichment-workers"


def _parse(path: Path) -> CommentedMap:
    try:
        text = _read(path)
        yaml = YAML(typ="rt")
        for fault, line in _unwanted(yaml.parse(text)):
            raise TopologyError(f"{path}:{line}: {fault}")
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TopologyError(f"{path}:{line}: {error.problem}") from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise TopologyError(f"{path}: not YAML: {type(error).__name__}") from error
    if not isinstance(document, CommentedMap):
        raise TopologyError(f"{path}:1: the top level must be a mapping")
    return document


def _unwanted(events: Iterable[Event]) -> Iterator[tuple[str, int]]:
    """What is refused before anything is built of it, and its line.

    A few lines of aliases can fill the memory, and nesting costs the square of its depth.
    """
    depth = 0
    for event in events:
        line = event.start_mark.line + 1
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent):
            yield "aliases are not supported; write it out", line
        elif depth > MAX_NESTING:
            yield f"nested deeper than {MAX_NESTING} levels", line
        elif (tag := getattr(event, "tag", None)) is not None:
            yield f"tags such as {tag} are not supported; write a plain value", line
        elif isinstance(event, ScalarEvent) and event.value == "<<":
            yield "merge keys are not supported; write it out", line


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise TopologyError(f"{path}: {len(content)} bytes, more than {MAX_BYTES}")
        return content.decode()
    except OSError as error:
        # The default's name is one that nobody typed.
        hint = "; name it with --topology" if path.name.startswith("topology") else ""
        raise TopologyError(f"{path}: {error.strerror}{hint}") from error
    except UnicodeDecodeError as error:
        raise TopologyError(f"{path}: not UTF-8: {error}") from error


def _plain(
    node: Any,
    place: Place,
    lines: dict[Place, int],
    env: Mapping[str, str] | None,
    missing: list[tuple[Place, str]],
) -> Any:
    """The document in plain types, substituted; notes the line of every field on the way."""
    if isinstance(node, CommentedMap):
        made = {}
        for key, value in node.items():
            below = (*place, key)
            lines[below] = node.lc.key(key)[0] + 1
            made[key] = _plain(value, below, lines, env, missing)
        return made
    if isinstance(node, CommentedSeq):
        listed = []
        for index, value in enumerate(node):
            lines[(*place, index)] = node.lc.item(index)[0] + 1
            listed.append(_plain(value, (*place, index), lines, env, missing))
        return listed
    if not isinstance(node, str):
        return node
    return str(node) if env is None else _substitute(node, place, env, missing)


def _substitute(
    text: str, place: Place, env: Mapping[str, str], missing: list[tuple[Place, str]]
) -> Any:
    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        found = env.get(match[2]) or match[3]
        if found is None:
            missing.append((place, f"the environment has no {match[2]}; set it, or give a default"))
            return ""
        return found

    replaced = _VARIABLE.sub(value, str(text))
    whole = _VARIABLE.fullmatch(text)
    # A field that is one variable and nothing else may be a number or a boolean.
    if whole and whole[2] and re.fullmatch(r"-?\d+|true|false", replaced):
        return YAML(typ="safe").load(replaced)
    return replaced


def _faults(error: ValidationError, model: type[BaseModel]) -> list[tuple[Place, str]]:
    found = []
    for fault in error.errors(include_input=False, include_url=False):
        place = tuple(part for part in fault["loc"] if part not in ("[key]", "str", "int", "bool"))
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            text = f"unknown key{_nearest(place, model)}"
        elif fault["type"] == "missing":
            text = "is needed"
        entry = (place, text)
        if entry not in found:
            found.append(entry)
    return found


def _nearest(place: Place, model: type[BaseModel]) -> str:
    part: Any = model.model_json_schema()
    definitions = part.get("$defs", {})
    names = set(part["properties"])
    for definition in definitions.values():
        names |= set(definition.get("properties", ()))
    close = difflib.get_close_matches(str(place[-1]), names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _describe(path: Path, lines: Mapping[Place, int], whole: str, place: Place, text: str) -> str:
    # A fault of a part that is not written stands at the nearest part that is.
    known = place
    while known and known not in lines:
        known = known[:-1]
    field = ".".join(map(str, place)) or whole
    return f"{path}:{lines.get(known, 1)}: {field}: {text}"
