"""The folders of the service stand in one order, and each imports only those before it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src/derivfleet/metrics"
LAYERS = ["settings", "records", "sums", "store", "ingest", "reports", "alerts", "replicate", "retention", "rpc", "web"]


def test_each_folder_imports_only_those_before_it() -> None:
    wrong: list[str] = []
    for path in sorted(ROOT.rglob("*.py")):
        layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
        allowed = {*LAYERS[: LAYERS.index(layer) + 1]} if layer in LAYERS else {*LAYERS, "service"}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("derivfleet.metrics."):
                imported = str(node.module).split(".")[2]
                if imported not in allowed:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {imported}")
    assert wrong == []
