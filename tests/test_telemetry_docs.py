"""``docs/telemetry.md`` says which spans there are; the code must agree, word for word."""

from __future__ import annotations

import re
from pathlib import Path

from derivfleet.common.spans import SPANS, Attribute

PAGE = (Path(__file__).parents[1] / "docs/telemetry.md").read_text()


def span_rows() -> list[tuple[str, ...]]:
    table = PAGE.partition("<!-- spans -->")[2].partition("<!-- /spans -->")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table.strip().splitlines()]
    return rows[2:]


def test_the_table_of_spans_is_the_code() -> None:
    expected = [
        (
            f"`{name}`",
            kind.service,
            kind.kind.value,
            f"`{kind.parent}`" if kind.parent else "–",
            kind.measures,
            ", ".join(f"`{attribute.removeprefix('derivfleet.')}`" for attribute in kind.attributes),
        )
        for name, kind in SPANS.items()
    ]
    assert span_rows() == expected


def test_every_attribute_is_used_and_every_one_shown_exists() -> None:
    used = {attribute for kind in SPANS.values() for attribute in kind.attributes}
    assert used == set(Attribute)


def test_the_example_is_a_tree_of_known_spans() -> None:
    example = PAGE.partition("<!-- trace -->")[2].partition("<!-- /trace -->")[0]
    names = re.findall(r"[├└]─ ([a-z.]+)|^(trade)\b", example, re.MULTILINE)
    shown = {first or second for first, second in names}
    assert {"trade", "trade.decide", "trade.buy", "gateway.buy", "quota.wait", "deriv.call", "order.settle"} <= shown
    assert shown <= {str(name) for name in SPANS}
