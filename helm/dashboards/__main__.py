"""``python -m helm.dashboards [FOLDER]``: write the dashboards as JSON, into the chart by default."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from helm.dashboards.overview_dashboard import overview
from helm.dashboards.trade_dashboard import trade

CHART = Path(__file__).parents[1] / "derivfleet/dashboards"


def _without_placement(part: Any) -> Any:
    """The models put every link into a menu, where nobody looks; without that word it stands above the panels."""
    match part:
        case dict():
            found = cast("dict[str, Any]", part)
            hidden = "inControlsMenu"
            return {name: _without_placement(value) for name, value in found.items() if value != hidden}
        case list():
            return [_without_placement(value) for value in cast("list[Any]", part)]
        case _:
            return part


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else CHART
    folder.mkdir(parents=True, exist_ok=True)
    for name, built in {"overview": overview(), "trade": trade()}.items():
        dashboard = built.build()
        # Numbered here: else Grafana numbers them as it loads them, and a link to a panel lasts no longer than that.
        for number, panel in enumerate(dashboard.panels or [], start=1):
            panel.id_val = number
        document = _without_placement(json.loads(JSONEncoder().encode(dashboard)))
        (folder / f"{name}.json").write_text(json.dumps(document, sort_keys=True, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
