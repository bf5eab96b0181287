"""Reads the simulator's account book over HTTP."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from derivfleet.cli.complaints import CommandError
from derivfleet.cli.reckoning import Booked, Ledger
from derivfleet.common.settings import first_problem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Book", "ledger_of", "read_book"]

READ_WALL_S = 10.0


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
class Book:
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
    contracts = tuple(contract for account in accounts for contract in _booked(account.contracts, account.movements))
    return Ledger(contracts, own.start_balance, own.balance)


def _booked(contracts: Iterable[_Contract], movements: Iterable[_Movement]) -> list[Booked]:
    moved: dict[int | None, Decimal] = defaultdict(Decimal)
    for movement in movements:
        moved[movement.contract_id] += movement.amount
    return [
        Booked(
            contract_id=one.contract_id,
            buy_price=one.buy_price,
            sell_price=one.sell_price,
            profit=None if one.sell_price is None else moved[one.contract_id],
            is_sold=one.sell_price is not None,
        )
        for one in contracts
    ]


async def read_book(address: str, login_id: str) -> Book:
    """Read the book of the simulator at host:port; raises CommandError if there is none."""
    timeout = aiohttp.ClientTimeout(total=READ_WALL_S)
    async with aiohttp.ClientSession(f"http://{address}", timeout=timeout) as session:
        ledger = ledger_of(await _read(session, "/ledger"), login_id)
        calls = _parsed(_Calls, await _read(session, "/ledger/calls"))
    return Book(ledger, calls.refused)


async def _read(session: aiohttp.ClientSession, path: str) -> str:
    try:
        async with session.get(path) as answer:
            if not answer.ok:
                raise CommandError(f"the simulator's ledger cannot be read: {answer.url} answers {answer.status}")
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CommandError(f"the simulator's ledger cannot be read: {error or 'no answer in time'}") from None


def _parsed(model: type[P], text: str) -> P:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise CommandError(f"the simulator's ledger cannot be read: {key}: {problem}") from None
