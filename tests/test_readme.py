"""What README tells people to type, exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml
from typer.main import get_command

from derivfleet.cli.commands import app
from derivfleet.common.fleet import Fleet

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_commands_exist() -> None:
    lines = re.findall(r"^\.venv/bin/(.*)$", README, re.MULTILINE)
    commands = set(re.findall(r"derivfleet ([a-z]+)\b(?= |$)", "\n".join(lines)))
    assert {"up", "doctor", "status", "quota", "orders", "report"} <= commands
    assert commands <= set(getattr(get_command(app), "commands", {}))


def test_the_make_verbs_exist() -> None:
    verbs = set(re.findall(r"`?make ([a-z0-9-]+)", README))
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert verbs <= targets
    assert {"setup", "run", "test", "lint", "format", "typecheck", "proto", "bench", "clean"} <= targets


def test_the_simulation_plays_one_seed_only_if_told_which() -> None:
    def typed(*variables: str) -> str:
        command = ["make", "--dry-run", "sim", *variables]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603

    assert "--orders 500" in typed("ORDERS=500")
    assert "--seed " not in typed("ORDERS=500")
    assert "--seed 7" in typed("SEED=7")


def test_the_fleet_in_the_readme_is_a_fleet() -> None:
    text = README.partition("```yaml")[2].partition("```")[0]
    assert len(Fleet.model_validate(yaml.safe_load(text)).bots) == 2


def test_the_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
