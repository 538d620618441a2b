"""Runs in the environment of the group `deploy`: Helm, Kubernetes' schemas and those of CRDs.

    python tools.py render CHART NAMESPACE NAME < values.json      manifests by template, as JSON
    python tools.py lint CHART < values.json                       Helm's findings
    python tools.py validate VERSION < documents.json              faults, one a line of JSON

An error of Helm's is printed, and ends it with 1. A kind that no schema describes is a fault.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jsonschema

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
    if "anyOf" in made:
        made["anyOf"] = kinds
    if made.get("properties"):
        made["additionalProperties"] = False
    return made


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
    import kubernetes_validate

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


def main(verb: str, *words: str) -> int:
    """Do it."""
    given = json.load(sys.stdin)
    if verb == "validate":
        found = [fault for document in given for fault in faults(document, words[0])]
        print(json.dumps(found))
        return 0
    import helm_python

    try:
        if verb == "lint":
            print(json.dumps(helm_python.lint(words[0], given, strict=True)))
        else:
            with helm_python.Chart.load(words[0]) as chart:
                chart.validate_schema(given)
                print(json.dumps(chart.render(given, namespace=words[1], name=words[2])))
    except helm_python.HelmError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
