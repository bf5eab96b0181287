"""The simulator as a run sees it: whether it is well, and its own ledger, read over HTTP."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from derivfleet.cli.errors import CommandError
from derivfleet.cli.run.ledger_comparison import Ledger, LedgerContract
from derivfleet.common.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LedgerReading", "is_healthy", "ledger_of", "read_ledger"]

READ_TIMEOUT_WALL_S = 10.0
HEALTH_TIMEOUT_WALL_S = 2.0


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Movement(_Part):
    amount: Decimal
    contract_id: int | None


class _Contract(_Part):
    contract_id: int
    buy_price: Decimal
    sell_price: Decimal | None


class _Account(_Part):
    loginid: str
    start_balance: Decimal
    balance: Decimal
    movements: tuple[_Movement, ...]
    contracts: tuple[_Contract, ...]


class _Accounts(_Part):
    accounts: tuple[_Account, ...]


class _Calls(_Part):
    refused: int


P = TypeVar("P", bound=_Part)


@dataclass(frozen=True, slots=True)
class LedgerReading:
    """The ledger, and how many calls the simulator refused for rate."""

    ledger: Ledger
    rate_refused: int


def ledger_of(text: str, login_id: str) -> Ledger:
    """The ledger from what ``GET /ledger`` answers.

    The balances are those of one account, the contracts those of all: a purchase on an account that the fleet does not
    know of must not go unseen. A contract's profit is the sum of the movements of cash that name it. Raises
    CommandError if the answer is something else or lacks the account.
    """
    accounts = _parsed(_Accounts, text).accounts
    own = next((account for account in accounts if account.loginid == login_id), None)
    if own is None:
        known = ", ".join(account.loginid for account in accounts)
        raise CommandError(f"the simulator's ledger has no account {login_id!r}; it has {known or 'none'}")
    contracts = tuple(contract for account in accounts for contract in _contracts(account.contracts, account.movements))
    return Ledger(contracts, own.start_balance, own.balance)


def _contracts(contracts: Iterable[_Contract], movements: Iterable[_Movement]) -> list[LedgerContract]:
    moved: dict[int | None, Decimal] = defaultdict(Decimal)
    for movement in movements:
        moved[movement.contract_id] += movement.amount
    return [
        LedgerContract(
            contract_id=one.contract_id,
            buy_price=one.buy_price,
            sell_price=one.sell_price,
            profit=None if one.sell_price is None else moved[one.contract_id],
            is_sold=one.sell_price is not None,
        )
        for one in contracts
    ]


async def read_ledger(address: str, login_id: str) -> LedgerReading:
    """Read the ledger of the simulator at host:port; raises CommandError if there is none."""
    ledger = ledger_of(await _read(address, "/ledger"), login_id)
    calls = _parsed(_Calls, await _read(address, "/ledger/calls"))
    return LedgerReading(ledger, calls.refused)


async def is_healthy(address: str) -> bool:
    """Whether the simulator at host:port is there and says that it is well."""
    try:
        status, _ = await asyncio.to_thread(_get, address, "/health", HEALTH_TIMEOUT_WALL_S)
    except (OSError, HTTPException):
        return False
    return status == HTTPStatus.OK


async def _read(address: str, path: str) -> str:
    try:
        status, text = await asyncio.to_thread(_get, address, path, READ_TIMEOUT_WALL_S)
    except (OSError, HTTPException) as error:
        raise CommandError(f"the simulator's ledger cannot be read: {error or 'no answer in time'}") from None
    if status != HTTPStatus.OK:
        raise CommandError(f"the simulator's ledger cannot be read: http://{address}{path} answers {status}")
    return text


def _get(address: str, path: str, timeout_s: float) -> tuple[int, str]:
    """One request: status and body. Raises OSError or HTTPException; blocks."""
    with closing(HTTPConnection(address, timeout=timeout_s)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _parsed(model: type[P], text: str) -> P:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise CommandError(f"the simulator's ledger cannot be read: {key}: {problem}") from None
