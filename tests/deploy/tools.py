"""Runs in the environment of the group `deploy`: Helm, Kubernetes' schemas and those of CRDs.

One process answers all questions, because what it imports is large: a line of JSON each,
`[verb, what, *words]`, answered by a line. A kind that no schema describes is a fault.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import yaml

CRDS = {
    ("keda.sh/v1alpha1", "ScaledObject"): ("cloudcoil.models.keda.v1alpha1", "ScaledObject"),
    ("monitoring.coreos.com/v1", "PodMonitor"): (
        "cloudcoil.models.prometheus_operator.v1",
        "PodMonitor",
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): (
        "cloudcoil.models.prometheus_operator.v1",
        "PrometheusRule",
    ),
}


def closed(schema: Any) -> Any:
    """Pydantic's schema as the API server is meant to read it: no other keys, no nulls."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items() if key != "default"}
    kinds = [kind for kind in made.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        made = {**{key: value for key, value in made.items() if key != "anyOf"}, **kinds[0]}
    elif kinds:
        made["anyOf"] = kinds
    if made.get("properties"):
        made["additionalProperties"] = False
    return made


@functools.cache
def crd_schema(api: str, kind: str) -> dict[str, Any] | None:
    """Of a custom resource, out of models that were made of its CRD."""
    place = CRDS.get((api, kind))
    if place is None:
        return None
    module = __import__(place[0], fromlist=[place[1]])
    made: dict[str, Any] = closed(getattr(module, place[1]).model_json_schema(by_alias=True))
    return made


def faults(document: dict[str, Any], version: str) -> list[str]:
    """What is wrong with an object."""
    api, kind = document.get("apiVersion", ""), document.get("kind", "")
    name = f"{kind} {document.get('metadata', {}).get('name')}"
    schema = crd_schema(api, kind)
    if schema is not None:
        found = jsonschema.Draft202012Validator(schema).iter_errors(document)
        return [f"{name}: {error.json_path}: {error.message}" for error in found]
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return [f"{name}: no schema describes {api} {kind}"]
    except kubernetes_validate.ValidationError as error:
        return [f"{name}: {error.path}: {error.message}"]
    return []


def render(given: dict[str, Any], chart: str, namespace: str, name: str) -> list[Any]:
    """The objects of a release."""
    with helm_python.Chart.load(chart) as loaded:
        loaded.validate_schema(given)
        texts = loaded.render(given, namespace=namespace, name=name)
    return [d for place, text in texts.items() if place.endswith(".yaml") for d in parsed(text)]


def parsed(text: str) -> list[Any]:
    """The documents of a YAML stream that hold something."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


VERBS: dict[str, Callable[..., Any]] = {
    "render": render,
    "lint": lambda given, chart: helm_python.lint(chart, given, strict=True),
    "faults": lambda given, version: [f for document in given for f in faults(document, version)],
    "yaml": parsed,
}


def main() -> None:
    """Answer until there are no more questions."""
    for line in sys.stdin:
        verb, given, *words = json.loads(line)
        try:
            answer = {"answer": VERBS[verb](given, *words)}
        except helm_python.HelmError as error:
            answer = {"refused": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
