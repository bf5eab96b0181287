"""The link that opens the page signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Fleet


async def test_the_link_brings_the_readers_token_where_no_server_sees_it(fleet: Fleet) -> None:
    result = await fleet.run("page")
    assert result.exit_code == 0
    token = fleet.folder.token("page_reader").read_text()
    assert result.output == f"http://127.0.0.1:7680/#token={token}\n"


async def test_the_status_names_the_page_and_keeps_the_token_to_itself(fleet: Fleet) -> None:
    result = await fleet.run("status")
    assert "http://127.0.0.1:7680" in result.output
    assert fleet.folder.token("page_reader").read_text() not in result.output


async def test_a_fleet_that_has_ended_has_no_page(fleet: Fleet) -> None:
    fleet.folder.run_file.unlink()
    result = await fleet.run("page")
    assert result.exit_code == 1
    assert "no fleet was started" in result.output
