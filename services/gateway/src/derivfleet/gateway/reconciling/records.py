"""The account's own lists, read page by page, and their rows as evidence of purchases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv import requests, shortcodes
from derivfleet.gateway.core.quota import GATEWAY
from derivfleet.gateway.core.reconcile.lost_orders import Purchase
from derivfleet.gateway.reconciling.evidence import Row

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.answers import ContractState, StatementRow
    from derivfleet.deriv.dialects import Codec
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["Row", "contract", "of_contract", "of_portfolio", "of_statement", "statement"]

STATEMENT_ROWS = 500
MOST_PAGES = 10


async def statement(
    client: AccountClient, codec: Codec, action: str, since_s: int, until_s: int
) -> tuple[list[StatementRow], bool]:
    """The statement's purchases (``buy``) or sales (``sell``) of a span of time, and whether that was all of them."""
    rows: list[StatementRow] = []
    for page in range(MOST_PAGES):
        request = requests.Statement(
            statement=1,
            action_type=action,
            date_from=since_s,
            date_to=until_s,
            description=1,
            limit=STATEMENT_ROWS,
            offset=page * STATEMENT_ROWS or None,
        )
        more = codec.decode_statement(await client.call(GATEWAY, request))
        rows += more
        if len(more) < STATEMENT_ROWS:
            return rows, True
    return rows, False


async def contract(client: AccountClient, codec: Codec, contract_id: int) -> ContractState | None:
    """One contract as Deriv shows it now; None if it shows none."""
    request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=contract_id)
    return codec.decode_contract(await client.call(GATEWAY, request))


def of_statement(row: StatementRow) -> Row | None:
    """A row of purchases; None if it is about no contract."""
    if row.contract_id is None:
        return None
    purchase = _purchase(row.shortcode, row.contract_id, row.transaction_id, -row.amount, row.transaction_time_s)
    return Row(row.contract_id, -row.amount, row.transaction_time_s, row.app_id, purchase)


def of_portfolio(codec: Codec, frame: Frame) -> list[Row]:
    """Open contracts."""
    return [
        Row(
            row.contract_id,
            row.buy_price,
            row.purchase_time_s,
            row.app_id,
            _purchase(row.shortcode, row.contract_id, row.transaction_id, row.buy_price, row.purchase_time_s),
        )
        for row in codec.decode_portfolio(frame)
    ]


def of_contract(contract: ContractState) -> Purchase | None:
    """A contract by itself; None if it is of a kind that the fleet does not buy."""
    return _purchase(
        contract.shortcode,
        contract.contract_id,
        contract.buy_transaction_id or 0,
        contract.buy_price,
        contract.purchase_time_s or contract.start_s or 0,
    )


def _purchase(
    shortcode: str | None, contract_id: int, transaction_id: int, price: Decimal, epoch_s: int
) -> Purchase | None:
    code = shortcodes.parse(shortcode or "")
    if code is None:
        return None
    return Purchase(
        contract_id=contract_id,
        transaction_id=transaction_id,
        price=price,
        payout=code.payout,
        epoch_s=epoch_s or code.start_s,
        shortcode=code,
    )
