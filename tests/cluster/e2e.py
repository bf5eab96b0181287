"""``make e2e``: install the chart on the cluster that KUBECONFIG points at, and see that it does what it says.

The images must be where the nodes find them. Writes ``build/e2e.json``; exit code 1 if a check fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from checks import CHECKS, Facts
from cluster import NAMESPACE, Cluster, Timed

RESULT = Path("build/e2e.json")


def image_sizes() -> dict[str, float]:
    """MB by image, if a Docker engine has them."""
    command = ["docker", "image", "ls", "--format", "{{.Repository}} {{.Size}}", "--filter", "reference=derivfleet/*"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own command
    except (OSError, subprocess.CalledProcessError):
        return {}
    units = {"kB": 0.001, "MB": 1.0, "GB": 1000.0}
    return {
        name.removeprefix("derivfleet/"): round(float(size[:-2]) * units[size[-2:]], 1)
        for name, size in (line.split() for line in listing.splitlines())
    }


def main() -> int:
    cluster = Cluster()
    cluster.run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    facts: Facts = {}
    seen: list[dict[str, Any]] = []
    whole = Timed()
    for number, check in enumerate(CHECKS, 1):
        name = check.__name__.replace("_", " ")
        timed = Timed()
        problem = ""
        try:
            check(cluster, facts)
        except AssertionError as error:
            problem = str(error) or "does not hold"
        seen.append({"name": name, "ok": not problem, "seconds": timed.seconds, "problem": problem})
        mark = "✗" if problem else "✓"
        print(f"{mark} {number:2}/{len(CHECKS)} {name} ({timed.seconds} s) {problem}", flush=True)  # noqa: T201 - a command
        if problem and check is CHECKS[0]:
            break
    failed = [one for one in seen if not one["ok"]]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"checks": seen, "image_mb": image_sizes(), **facts}, indent=2) + "\n")
    if not failed:
        cluster.run("kubectl", "delete", "namespace", NAMESPACE, "--wait=false")
    print(f"{len(seen) - len(failed)} passed, {len(failed)} failed in {whole.seconds} s: {RESULT}")  # noqa: T201 - a command
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
