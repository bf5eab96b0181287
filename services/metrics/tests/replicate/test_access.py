"""Who may read and write the copy: asked of the real API with real tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from supabase_pair import Database, Pair

MINE = "00000000-0000-0000-0000-000000000001"
OTHER = "00000000-0000-0000-0000-000000000002"
TABLES = ("fleets", "members", "orders", "reports", "alerts")
VIEWS = ("latest_reports", "fleet_days", "bot_days", "open_orders", "firing_alerts")


@pytest.fixture
def filled(database: Database) -> Database:
    """Two fleets with a row in each table, and a member of each."""
    database.run(f"insert into auth.users values ('{MINE}', 'me@example.com'), ('{OTHER}', 'you@example.com');")
    for fleet, user in (("mine", MINE), ("theirs", OTHER)):
        database.run(f"""
            insert into public.fleets (fleet, account) values ('{fleet}', 'demo');
            insert into public.members values ('{fleet}', '{user}');
            insert into public.orders select '{fleet}', 'demo', id, 'over-4', 'DIGITOVER', '1HZ100V', 0.35, 1, 't', '4',
              state, 1, 0.35, 0.68, 0.68, 0.33, '', '', false, now(), now(), now(), now(), '', 1
              from (values ('a', 'settled'), ('b', 'confirmed')) as found (id, state);
            insert into public.reports select '{fleet}', 'demo', 'day', now(), now(), '', 1, true, 1, 1, 1, 1, 0.33,
              0.35, '[]', '[]', '{{}}', now();
            insert into public.alerts values ('{fleet}', 'lost', '', 'unknown_orders', 0, 1, now(), null, 1);
        """)
    return database


@pytest.mark.usefixtures("filled")
async def test_a_member_reads_its_own_fleet_and_no_other(pair: Pair) -> None:
    key = pair.key("authenticated", MINE)
    for name in (*TABLES, *VIEWS):
        status, rows = await pair.ask("GET", name, key)
        assert status == 200, name
        assert {row["fleet"] for row in rows} == {"mine"}, name
        status, rows = await pair.ask("GET", f"{name}?fleet=eq.theirs", key)
        assert (status, rows) == (200, []), name


@pytest.mark.usefixtures("filled")
async def test_a_user_who_is_no_member_reads_nothing(pair: Pair) -> None:
    for user in ("00000000-0000-0000-0000-000000000003", ""):
        for name in (*TABLES, *VIEWS):
            assert await pair.ask("GET", name, pair.key("authenticated", user)) == (200, [])


@pytest.mark.usefixtures("filled")
async def test_without_signing_in_nothing_can_be_read_or_called(pair: Pair) -> None:
    for name in (*TABLES, *VIEWS):
        status, problem = await pair.ask("GET", name, pair.key("anon"))
        assert (status, problem["code"]) == (401, "42501"), name
    status, _ = await pair.ask("POST", "rpc/my_fleets", pair.key("anon"), {})
    assert status == 401


async def test_nobody_but_the_service_role_writes(pair: Pair, filled: Database) -> None:
    new = {
        "fleets": {"fleet": "new", "account": "demo"},
        "members": {"fleet": "theirs", "user_id": MINE},
        "orders": {"fleet": "mine", "account": "demo", "order_id": "new"},
        "reports": {"fleet": "mine"},
        "alerts": {"fleet": "mine"},
    }
    before = {name: filled.rows(f"select * from public.{name}") for name in TABLES}
    for key, refused in ((pair.key("anon"), 401), (pair.key("authenticated", MINE), 403)):
        for name in TABLES:
            for method, path, body in (
                ("POST", name, new[name]),
                ("PATCH", f"{name}?fleet=eq.mine", {"fleet": "stolen"}),
                ("DELETE", f"{name}?fleet=eq.mine", None),
            ):
                status, problem = await pair.ask(method, path, key, body)
                assert (status, problem["code"]) == (refused, "42501"), (method, path)
    assert {name: filled.rows(f"select * from public.{name}") for name in TABLES} == before
    status, _ = await pair.ask("POST", "fleets", pair.key("service_role"), new["fleets"])
    assert status == 201


@pytest.mark.usefixtures("filled")
async def test_a_forged_token_is_refused(pair: Pair) -> None:
    header, _, signature = pair.key("authenticated", MINE).split(".")
    payload = pair.key("service_role").split(".")[1]
    status, problem = await pair.ask("GET", "orders", f"{header}.{payload}.{signature}")
    assert (status, problem["code"]) == (401, "PGRST301")


async def test_no_table_is_without_row_level_security(database: Database) -> None:
    found = database.rows(
        "select relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace "
        "where nspname = 'public' and relkind = 'r' and not relrowsecurity"
    )
    assert found == []
