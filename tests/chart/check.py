"""Judge the chart: it renders what it should, refuses what it should, and says in which key the fault lies.

Needs helm on the PATH. With kubeconform and a cluster it also holds every object against the cluster's own schemas;
with helm-docs it tells whether the chart's README is current.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import yaml
from kinds import LOCATION, Unreachable, write_schemas

from derivfleet.common.alert_rules import AlertRule, Alerts, Telegram
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import CAPPED_CALLS, Account, Bot, Limits, Supabase, load_fleet
from derivfleet.common.strategy_parameters import STRATEGY_NAMES, DigitFrequency, MovingAverage
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.core.settings import SimulatorSettings
from derivfleet.simulator.settings import load_simulator_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import BaseModel

__all__ = ["main"]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "derivfleet"
VALUES = Path(__file__).parent
EXPECT = "# expect: "
KUBE_VERSION = "1.34.0"
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "pattern", "minItems", "type")


class Fault(Exception):  # noqa: N818 - what a check finds
    """The chart is not as it should be."""


def run(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, whatever that is."""
    return subprocess.run(command, input=text, capture_output=True, check=False, text=True)  # noqa: S603 - our own words


def rendered(values: Path) -> str:
    """What helm makes of a values file. Raises Fault."""
    done = run("helm", "template", "fleet", str(CHART), "--kube-version", KUBE_VERSION, "--values", str(values))
    if done.returncode:
        raise Fault(done.stderr.strip())
    return done.stdout


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of a rendering."""
    return [cast("dict[str, Any]", one) for one in yaml.safe_load_all(text) if one]


def good_values() -> list[Path]:
    """What the chart must take; the fleet file is a values file too."""
    return [ROOT / "fleet.yaml", *sorted((VALUES / "good").glob("*.yaml"))]


def lint() -> str:
    for values in good_values():
        done = run("helm", "lint", "--strict", "--kube-version", KUBE_VERSION, "--values", str(values), str(CHART))
        if done.returncode:
            raise Fault(f"{values.name}: {done.stdout}{done.stderr}")
    return f"{len(good_values())} values files"


def refuses_wrong_values() -> str:
    files = sorted((VALUES / "wrong").glob("*.yaml"))
    for values in files:
        expected = values.read_text().partition("\n")[0].removeprefix(EXPECT)
        done = run("helm", "template", "fleet", str(CHART), "--kube-version", KUBE_VERSION, "--values", str(values))
        if done.returncode == 0:
            raise Fault(f"{values.name} is accepted")
        if not any(expected in line for line in done.stderr.splitlines()):
            raise Fault(f"{values.name}: no line of the error has {expected!r}: {done.stderr.strip()}")
    return f"{len(files)} values files"


def fleets_load() -> str:
    count = 0
    with TemporaryDirectory() as folder:
        for values in good_values():
            for one in objects(rendered(values)):
                if one["kind"] != "ConfigMap":
                    continue
                for name, content in cast("dict[str, str]", one["data"]).items():
                    path = Path(folder) / name
                    path.write_text(content)
                    try:
                        if name == "fleet.yaml":
                            load_fleet(path, frozenset(SYMBOLS))
                            count += 1
                        elif name == "settings.yaml":
                            load_simulator_settings(str(path))
                            count += 1
                    except ConfigurationError as error:
                        raise Fault(f"{values.name}: {error}") from None
    return f"{count} files"


def simulator_is_the_gateways() -> str:
    """Whoever gets to the simulator's port may also put faults in, so a Prometheus must not."""
    values = VALUES / "good" / "everything.yaml"
    policies = {
        one["metadata"]["name"]: one["spec"] for one in objects(rendered(values)) if one["kind"] == "NetworkPolicy"
    }
    peers = {
        name: [peer for rule in spec.get("ingress", ()) for peer in rule["from"]] for name, spec in policies.items()
    }
    (scraper,) = yaml.safe_load(values.read_text())["networkPolicy"]["scrapeFrom"]
    if lacking := [name for name in ("gateway", "bots", "metrics") if scraper not in peers[f"night-{name}"]]:
        raise Fault(f"{values.name}: scrapeFrom does not let a Prometheus in at {', '.join(lacking)}")
    gateway = {"key": "app.kubernetes.io/component", "operator": "In", "values": ["gateway"]}
    for peer in peers["night-simulator"]:
        if gateway not in peer.get("podSelector", {}).get("matchExpressions", []):
            raise Fault(f"{values.name}: others than the gateway get to the simulator: {peer}")
    return "no other peer in its policy"


def conforms() -> str:
    if shutil.which("kubeconform") is None:
        return "skipped: kubeconform is not on the PATH"
    with TemporaryDirectory() as folder:
        try:
            known = write_schemas(Path(folder))
        except Unreachable:
            return "skipped: no cluster to take the schemas from"
        for values in good_values():
            done = run("kubeconform", "-strict", "-schema-location", f"{folder}/{LOCATION}", "-", text=rendered(values))
            if done.returncode:
                raise Fault(f"{values.name}: {done.stdout}{done.stderr}")
    return f"{len(good_values())} values files against {known} kinds"


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """What a schema allows, in one spelling: pydantic's and ours differ in how they write a choice."""
    found = {key: schema[key] for key in _BOUNDS if key in schema}
    if "enum" in found:
        found.pop("type", None)
    return found


def _compare(where: str, ours: dict[str, Any], model: type[BaseModel], *, apart: frozenset[str] = frozenset()) -> None:
    """Hold one object of our schema against the model that reads it; raises Fault naming the first difference."""
    theirs = model.model_json_schema()
    names = (
        set(theirs["properties"])
        ^ set(ours["properties"])
        ^ (apart & (set(theirs["properties"]) ^ set(ours["properties"])))
    )
    if names:
        raise Fault(f"{where}: only one of schema and model has {', '.join(sorted(names))}")
    for name in set(theirs["properties"]) - apart:
        mine, other = _bounds(ours["properties"][name]), _bounds(theirs["properties"][name])
        if mine != other:
            raise Fault(f"{where}.{name}: the schema says {mine}, the model {other}")


def names_agree(where: str, ours: dict[str, Any], known: Iterable[str]) -> None:
    """Hold the keys that an object of our schema takes against those that there are; raises Fault."""
    if names := set(ours["properties"]) ^ set(known):
        raise Fault(f"{where}: only one of schema and code has {', '.join(sorted(names))}")


def schema_is_the_model() -> str:
    schema = json.loads((CHART / "values.schema.json").read_text())
    definitions = schema["definitions"]
    bot = definitions["bot"]
    if tuple(bot["properties"]["strategy"]["enum"]) != STRATEGY_NAMES:
        raise Fault("bots.strategy: the schema knows other strategies than the model")
    for name, model in zip(STRATEGY_NAMES, (DigitFrequency, MovingAverage), strict=True):
        _compare(f"bots.parameters of {name}", definitions[name], model, apart=frozenset({"strategy"}))
    # The stake is a decimal, which a schema says in its own way; a symbol is judged by who trades it.
    _compare("bots", bot, Bot, apart=frozenset({"strategy", "parameters", "stake", "symbols"}))
    account = schema["properties"]["accounts"]["items"]
    _compare("accounts", account, Account, apart=frozenset({"limits"}))
    _compare("accounts.limits", account["properties"]["limits"], Limits)
    _compare("alerts", schema["properties"]["alerts"], Alerts, apart=frozenset({"rules", "telegram"}))
    names_agree("alerts.telegram", schema["properties"]["alerts"]["properties"]["telegram"], Telegram.model_fields)
    _compare("alerts.rules", definitions["alertRule"], AlertRule, apart=frozenset({"threshold", "clear", "bots"}))
    _compare("supabase", schema["properties"]["supabase"], Supabase)
    names_agree("bots.caps", bot["properties"]["caps"], CAPPED_CALLS)
    buckets = {bucket for name in Dialect for bucket in dialect(name).limits.buckets}
    names_agree("accounts.limits.windows", account["properties"]["limits"]["properties"]["windows"], buckets)
    settings = schema["properties"]["simulator"]["properties"]["settings"]["properties"]
    if set(settings) != set(SimulatorSettings.model_fields):
        names = ", ".join(sorted(set(settings) ^ set(SimulatorSettings.model_fields)))
        raise Fault(f"simulator.settings: only one of schema and model has {names}")
    return "bots, accounts, strategies, simulator"


def schema_is_closed() -> str:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def open_objects(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            part = cast("dict[str, Any]", node)
            if (
                "properties" in part
                and "if" not in path
                and "then" not in path
                and part.get("additionalProperties") is not False
            ):
                yield path
            for key, value in part.items():
                yield from open_objects(value, f"{path}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(cast("list[Any]", node)):
                yield from open_objects(value, f"{path}/{index}")

    if found := list(open_objects(schema, "")):
        raise Fault(f"unknown keys are let in at {', '.join(found)}")
    return "no object takes unknown keys"


def versions_agree() -> str:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    if chart["appVersion"] != version:
        raise Fault(f"Chart.yaml: appVersion is {chart['appVersion']}, the project's version {version}")
    return str(version)


def readme_is_current() -> str:
    text = (CHART / "README.md").read_text()
    if undocumented := [line.split("|")[1].strip() for line in text.splitlines() if line.endswith("|  |")]:
        raise Fault(f"values.yaml: no comment says what {', '.join(undocumented)} is")
    if shutil.which("helm-docs") is None:
        return "skipped: helm-docs is not on the PATH"
    done = run("helm-docs", "--chart-search-root", str(CHART), "--dry-run")
    if done.returncode or done.stdout.strip() != text.strip():
        raise Fault("helm/derivfleet/README.md: run helm-docs --chart-search-root helm")
    return "as helm-docs writes it"


def compose_runs_the_fleet() -> str:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    bots = [one["environment"]["DERIVFLEET_BOT_NAME"] for name, one in services.items() if name.startswith("bot-")]
    fleet = load_fleet(ROOT / "fleet.yaml")
    if sorted(bots) != sorted(bot.name for bot in fleet.bots):
        raise Fault("docker/compose.yaml: its bots are not those of fleet.yaml")
    return f"{len(bots)} bots"


CHECKS: dict[str, Callable[[], str]] = {
    "helm lint --strict": lint,
    "wrong values are refused with the key named": refuses_wrong_values,
    "rendered fleets and settings load": fleets_load,
    "only the gateway gets to the simulator": simulator_is_the_gateways,
    "rendered objects conform": conforms,
    "schema and models agree": schema_is_the_model,
    "schema is closed": schema_is_closed,
    "versions agree": versions_agree,
    "README is current": readme_is_current,
    "compose runs fleet.yaml": compose_runs_the_fleet,
}


def main() -> int:
    """Run all checks, one line each; returns 1 if one failed."""
    if shutil.which("helm") is None:
        sys.stderr.write("make chart needs helm on the PATH\n")
        return 2
    failed = False
    for name, check in CHECKS.items():
        try:
            sys.stdout.write(f"ok    {name}: {check()}\n")
        except Fault as fault:
            failed = True
            sys.stdout.write(f"FAIL  {name}: {fault}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
