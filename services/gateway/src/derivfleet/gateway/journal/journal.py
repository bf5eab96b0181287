"""The journal: all orders of all accounts, and every transition in order.

Two transitions are written before anything is done about them, and if that fails nothing is done: *intended* and
*sent*. All others tell what has happened already. What the database does not take of them is kept in memory and written
in order as soon as it does; until then no order is opened, and what is open goes on.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

import structlog

from derivfleet.common.errors import ConfigurationError
from derivfleet.gateway.core.orders.operations import Denied
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.core.orders.tally import kind
from derivfleet.gateway.core.orders.transitions import advance
from derivfleet.gateway.journal import archive, foreign_trades, queries, write_ahead
from derivfleet.gateway.journal.recent_orders import RECENT_ORDERS, RecentOrders
from derivfleet.gateway.journal.records import ORDER, JournalEvent, ended_ns_of, profit_of
from derivfleet.gateway.journal.schema import NewerJournalError, prepare
from derivfleet.gateway.journal.store import ContractTakenError, FencedError, JournalError
from derivfleet.gateway.journal.stores import open_store
from derivfleet.gateway.journal.unwritten import Unwritten

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from derivfleet.gateway.core.orders.tally import Past
    from derivfleet.gateway.core.quota import Block
    from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade
    from derivfleet.gateway.journal.store import Step, Store

__all__ = ["Journal", "Sync"]

_log = structlog.get_logger()

Sync = Literal["sent", "all", "none"]
"""What survives a power cut: each *sent* order and all before it, everything, or what the system wrote by then."""
RETRY_BATCH = 200
LOST_AT_MOST = 10_000
"""Positions left out after a start that follows a crash. Readers may know transitions that a power cut has undone, and
would take others at the same positions for those. Between two syncs there are a few hundred."""
_OPENING = frozenset({State.INTENDED, State.SENT})
_INSERT_EVENT = "INSERT INTO events (position, account, time_ns, body) VALUES (?, ?, ?, ?)"
_UPSERT_ORDER = (
    "INSERT INTO orders (first_position, account, order_id, bot, state, kind, contract_id, profit, ended_ns, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, order_id) DO UPDATE SET state = excluded.state,"
    " kind = excluded.kind, contract_id = excluded.contract_id, profit = excluded.profit,"
    " ended_ns = excluded.ended_ns, body = excluded.body"
)


class Journal:
    """All orders, every transition, and the calls made ahead."""

    def __init__(self, where: Path | str, key: str, *, sync: Sync = "sent", store: Store | None = None) -> None:
        """Open or create, with ``store`` instead of the database that ``where`` means.

        Raises ConfigurationError naming ``key`` if that cannot be done, or another gateway has it open.
        """
        self._store = store or open_store(where, key)
        self._sync = sync
        self._recent = RecentOrders()
        self._unwritten = Unwritten()
        self._listeners: list[Callable[[JournalEvent], None]] = []
        self._gathers = False
        self._in_doubt = False
        """A connection was lost, perhaps in the midst of a commit."""
        self._is_fenced = False
        self.trouble = ""
        """Why no orders are opened; empty if nothing is wrong."""
        try:
            prepare(self._store)
            self._open()
        except (JournalError, NewerJournalError) as error:
            self._store.close()
            raise ConfigurationError(key, f"{self._store.place} {error}") from None

    def _open(self) -> None:
        rows = self._store.read("SELECT id, epoch, trimmed_to, closed_at FROM journal")
        if rows:
            ((self.journal_id, epoch, self.trimmed_to, closed_at),) = rows
        else:
            self.journal_id, epoch, self.trimmed_to, closed_at = uuid.uuid4().hex, 0, 0, 0
        self._epoch = int(epoch) + 1
        found = self._store.read("SELECT coalesce(max(position), 0) FROM events")[0][0]
        last = max(int(found), int(self.trimmed_to))
        self.last_position = last if closed_at == last else last + LOST_AT_MOST
        """The position of the newest written transition; 0 if there is none."""
        opened: Step = ("UPDATE journal SET epoch = ?, closed_at = -1", (self._epoch,))
        if not rows:
            opened = ("INSERT INTO journal (id, epoch, trimmed_to, closed_at) VALUES (?, 1, 0, -1)", (self.journal_id,))
        self._store.commit([opened], durable=True)
        bodies = self._store.read("SELECT body FROM orders ORDER BY first_position DESC LIMIT ?", (RECENT_ORDERS,))
        for (body,) in reversed(bodies):
            self._recent.keep(ORDER.validate_json(body))

    @property
    def is_connected(self) -> bool:
        """Whether the database is there; if not, ``reconnect`` looks for it."""
        return self._store.is_connected

    @property
    def unwritten(self) -> int:
        """Transitions that wait for the database."""
        return len(self._unwritten)

    def listen(self, listener: Callable[[JournalEvent], None]) -> None:
        """Have each transition told once it is written."""
        self._listeners.append(listener)

    def write(self, order: Order, time_ns: int) -> None:
        """Write down an order's newest transition.

        Raises JournalError if the order is about to be opened and that could not be written: it must not be, then.
        Raises ContractTakenError if its contract is another order's.
        """
        if order.state in _OPENING:
            self._write_unwritten()
            self._put([(time_ns, order)])
            return
        if self._recent.is_taken(order):
            raise ContractTakenError(f"contract {order.contract_id} belongs to another order than {order.order_id}")
        self._hold(order, time_ns)
        if not self._gathers:
            self._write_held()

    @contextmanager
    def together(self) -> Generator[None]:
        """What is written meanwhile (but for what opens an order) survives a crash as a whole or not at all.

        So it is for up to ``RETRY_BATCH`` transitions.
        """
        self._gathers = True
        try:
            yield
        finally:
            self._gathers = False
        self._write_held()

    def _write_held(self) -> None:
        with suppress(JournalError):  # it has been logged, and is tried again
            self._write_unwritten()

    def retry(self) -> None:
        """Write what is unwritten, or see whether the database is there. Raises JournalError if it is not."""
        try:
            if self._in_doubt:
                self._take_over()
            if self._unwritten:
                self._write_unwritten()
            elif self.trouble:
                self._commit([("UPDATE journal SET closed_at = -1", ())], durable=True)
            else:
                self._check_epoch()
        except JournalError as error:
            self._note(error)
            raise

    def reconnect(self) -> None:
        """Look for a lost database; in a thread, for it may take seconds. ``retry`` goes on. Raises JournalError."""
        if self._is_fenced:
            raise FencedError(self.trouble)
        self._in_doubt = True
        self._store.reconnect()

    def _take_over(self) -> None:
        """See what came of the commit that the lost connection may have been in."""
        self._check_epoch()
        for event in queries.events(self._store, "", self.last_position, RETRY_BATCH):
            order = event.order
            self.last_position = event.position
            if self._unwritten.first(1) == [(event.time_ns, order)]:
                self._unwritten.forget_first()
            elif order.state is State.INTENDED and self._unwritten.get(order.account, order.order_id) is None:
                # Whoever wanted it was told that it was not taken.
                denied = advance(order, Denied("JOURNAL_NOT_WRITTEN", "the journal was lost meanwhile"), event.time_ns)
                self._hold(denied, event.time_ns)
            self._tell(event)
        self._in_doubt = False

    def _check_epoch(self) -> None:
        ((epoch,),) = self._store.read("SELECT epoch FROM journal")
        if epoch != self._epoch:
            self._is_fenced = True
            self._in_doubt = True  # so that nothing is written any more
            self._store.close()
            raise FencedError("another gateway has taken the order journal over: end this one")

    def _write_unwritten(self) -> None:
        while self._unwritten:
            batch = self._unwritten.first(RETRY_BATCH)
            try:
                self._put(batch)
            except ContractTakenError as error:
                if len(self._unwritten) > 1:  # there is no telling whose; a person has to look
                    self._note(taken := JournalError(f"the order journal contradicts itself: {error}"))
                    raise taken from None
                self._unwritten.forget_first()
                self._recent.clear()  # it was remembered as if it had been written
                raise
            for _ in batch:
                self._unwritten.forget_first()

    def _put(self, entries: list[tuple[int, Order]]) -> None:
        steps: list[Step] = []
        events: list[JournalEvent] = []
        position = self.last_position
        for time_ns, order in entries:
            position += 1
            body = ORDER.dump_json(order, exclude_defaults=True).decode()
            names = (order.account, order.order_id, order.bot, order.state.value, kind(order))
            row = (position, *names, order.contract_id, profit_of(order), ended_ns_of(order, time_ns), body)
            steps += [(_INSERT_EVENT, (position, order.account, time_ns, body)), (_UPSERT_ORDER, row)]
            events.append(JournalEvent(position, time_ns, order))
        is_sent = any(order.state is State.SENT for _, order in entries)
        self._commit(steps, durable=self._sync == "all" or (self._sync == "sent" and is_sent))
        self.last_position = position
        for event in events:
            self._recent.keep(event.order)
            self._tell(event)

    def _commit(self, steps: list[Step], *, durable: bool) -> None:
        if self._in_doubt:
            raise JournalError(self.trouble or "the order journal was lost, and is being looked for")
        try:
            self._store.commit(steps, durable=durable)
        except JournalError as error:
            self._note(error)
            raise
        if self.trouble:
            _log.info("the order journal is written again", place=self._store.place)
            self.trouble = ""

    def _note(self, error: JournalError) -> None:
        if not self.trouble or (isinstance(error, FencedError) and self.trouble != str(error)):
            _log.error("no orders are opened", problem=str(error), place=self._store.place)
        self.trouble = str(error)

    def _hold(self, order: Order, time_ns: int) -> None:
        self._unwritten.append(order, time_ns)
        self._recent.keep(order)

    def _tell(self, event: JournalEvent) -> None:
        for listener in self._listeners:
            listener(event)

    @property
    def remembered(self) -> int:
        """Orders kept in memory."""
        return len(self._recent)

    def order(self, account: str, order_id: str) -> Order | None:
        """One order, or None. Raises JournalError."""
        known = self._unwritten.get(account, order_id) or self._recent.get(account, order_id)
        if known is None:
            known = queries.order(self._store, account, order_id)
            if known is not None:
                self._recent.keep(known)
        return known

    def open_orders(self, account: str) -> list[Order]:
        """Orders whose story has not ended, oldest first."""
        return queries.open_orders(self._store, account)

    def all_orders(self, account: str) -> Iterator[Order]:
        """Every order, oldest first, those of the archive too."""
        return queries.all_orders(self._store, account)

    def page(self, account: str, bot: str, state: str, before_position: int, limit: int) -> tuple[list[Order], int]:
        """Orders newest first, older than a position, and where to go on (0: end). Empty filters match all.

        What is unwritten is shown as it is; what it was tells whether it is among those of a ``state``.
        """
        orders, more = queries.page(self._store, account, bot, state, before_position, limit)
        return [self._unwritten.get(order.account, order.order_id) or order for order in orders], more

    def events(self, account: str, after_position: int, limit: int) -> list[JournalEvent]:
        """Written transitions after a position, in order; an empty account matches all. Raises JournalError."""
        return queries.events(self._store, account, after_position, limit)

    def claimed(self, account: str, contract_ids: Iterable[int]) -> set[int]:
        """Which of these contracts belong to orders; if the database does not tell, to one of the newest."""
        found = {contract_id for contract_id in contract_ids if contract_id}
        known = self._recent.claimed(account, found)
        with suppress(JournalError):  # a receipt that is at hand must not be lost over it; the next write notices
            return known | queries.claimed(self._store, account, found - known)
        return known

    def tallies(self, account: str) -> Iterator[Past]:
        """What all orders add up to, by bot and state."""
        return archive.tallies(self._store, account)

    def sent_since(self, account: str, after_ns: int) -> list[str]:
        """The bots of purchases sent after an instant, one for each purchase."""
        return queries.sent_since(self._store, account, after_ns)

    def tidy(self, ended_before_ns: int, told_before_ns: int) -> bool:
        """Move some orders that ended before an instant to the archive, and forget some old transitions.

        Returns whether there may be more to do. Raises JournalError.
        """
        steps, trimmed_to, more = archive.tidying(self._store, ended_before_ns, told_before_ns)
        if steps:
            self._commit(steps, durable=False)
            self.trimmed_to = max(self.trimmed_to, trimmed_to)
        return more

    def write_blocks(self, account: str, blocks: Iterable[Block]) -> None:
        """Write down calls about to be made, and forget those that no window counts. Raises JournalError."""
        self._commit(write_ahead.noting(account, blocks), durable=self._sync == "all")

    def blocks(self, account: str, after_ns: int) -> list[Block]:
        """Blocks of calls opened after an instant, oldest first."""
        return write_ahead.blocks(self._store, account, after_ns)

    def write_foreign(self, account: str, trade: ForeignTrade) -> None:
        """Write down a trade that is not the fleet's. Raises JournalError."""
        self._commit(foreign_trades.noting(account, trade), durable=self._sync == "all")

    def foreign(self, account: str) -> list[ForeignTrade]:
        """The trades written down in the last day, oldest first. Raises JournalError."""
        return foreign_trades.trades(self._store, account)

    def login_id(self, account: str) -> str:
        """Which of Deriv's accounts the orders of one of ours are about; empty if that was not written down yet."""
        return queries.login_id(self._store, account)

    def write_login_id(self, account: str, login_id: str) -> None:
        """Write that down, once and for all. Raises JournalError."""
        insert = "INSERT INTO logins (account, login_id) VALUES (?, ?) ON CONFLICT (account) DO NOTHING"
        self._commit([(insert, (account, login_id))], durable=False)

    def close(self) -> None:
        """Write what is unwritten, if that can be done, and let go of the database."""
        try:
            self._write_unwritten()
            self._commit([("UPDATE journal SET closed_at = ?", (self.last_position,))], durable=True)
        except (JournalError, ContractTakenError) as error:
            _log.error(
                "the journal ends without its last transitions; the account's records hold what became of them",
                unwritten=self.unwritten,
                problem=str(error),
            )
        self._store.close()
