"""JSON schemas of a cluster's own kinds, for kubeconform where the public schemas cannot be had."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LOCATION", "Unreachable", "write_schemas"]

LOCATION = "{{.ResourceKind}}{{.KindSuffix}}.json"
"""How kubeconform finds a schema in the folder."""
_PREFIX = "#/definitions/"
_ANYTHING: dict[str, Any] = {}
# Go marshals these as texts or numbers, and the API's own description says only "string".
_EITHER = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}


class Unreachable(Exception):  # noqa: N818 - it is a finding, not a failure
    """There is no cluster to ask."""


def write_schemas(folder: Path) -> int:
    """Write a strict schema for each kind that the current cluster knows; returns how many. Raises Unreachable."""
    command = ["kubectl", "get", "--raw", "/openapi/v2", "--request-timeout=10s"]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603 - our own words
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unreachable from error
    definitions = cast("dict[str, dict[str, Any]]", json.loads(answer)["definitions"])
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for definition in definitions.values():
        for kind in cast("list[dict[str, str]]", definition.get("x-kubernetes-group-version-kind", [])):
            group = kind["group"].partition(".")[0]
            suffix = "-".join(("", *filter(None, (group, kind["version"])))).lower()
            schema = _closed(definition, definitions, ())
            schema["properties"]["apiVersion"] = {"const": "/".join(filter(None, (kind["group"], kind["version"])))}
            schema["properties"]["kind"] = {"const": kind["kind"]}
            (folder / f"{kind['kind'].lower()}{suffix}.json").write_text(json.dumps(schema))
            written += 1
    return written


def _closed(node: Any, definitions: dict[str, dict[str, Any]], within: tuple[str, ...]) -> Any:
    """The same schema without references, and closed: an object with known properties has no others.

    A definition that contains itself takes anything at the second level.
    """
    if isinstance(node, list):
        return [_closed(item, definitions, within) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    schema = cast("dict[str, Any]", node)
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(_PREFIX)
        if name in _EITHER:
            return _EITHER[name]
        return _ANYTHING if name in within else _closed(definitions[name], definitions, (*within, name))
    closed: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            # Names, not words of the schema language: a property may well be called "description" or "$ref".
            named = cast("dict[str, Any]", value)
            closed[key] = {name: _closed(one, definitions, within) for name, one in named.items()}
            closed["additionalProperties"] = False
        elif not key.startswith("x-") and key not in ("description", "format"):
            closed[key] = _closed(value, definitions, within)
    return closed
