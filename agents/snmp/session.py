"""Reading values and tables of one agent in as few packets as it allows, whatever it does."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pysnmp.proto.errind import ErrorIndication

from agents.driver import Denied, DriverError, Garbled, ResetFailed, TimedOut, Unreachable
from agents.snmp.message import Answer, Kind, Manner, Missing, Oid, Peer, Question, Value
from agents.snmp.wire import Wire

MAX_SCALARS = 20
MAX_ROWS = 2000
MAX_PACKETS = 150
_VARBINDS = 60
"""Asked for per packet: about what fits into one Ethernet frame."""
_REPEAT = 40
_UNKNOWN_ROWS = 8
_ATTEMPTS = 3
_REPORTS = 4
"""Times that a device may say something of its engine instead of answering."""

TOO_BIG, NO_SUCH_NAME, GEN_ERR, NO_ACCESS, AUTHORIZATION = 1, 2, 5, 6, 16
READ_ONLY, NOT_WRITABLE = 4, 17


@dataclass
class Column:
    """Rows of one table column, in the order in which the agent told them."""

    rows: dict[Oid, Value] = field(default_factory=dict)
    complete: bool = False
    """False when a bound or silence cut the walk: a sum over it would be wrong."""


@dataclass
class _Walk:
    column: Oid
    cursor: Oid
    expected: int
    result: Column = field(default_factory=Column)
    last: Oid = ()

    def take(self, oid: Oid, value: Value) -> bool:
        """Add one row; False when the column ends here, or the agent goes in circles."""
        below, index = oid[: len(self.column)], oid[len(self.column) :]
        if isinstance(value, Missing) or below != self.column:
            self.result.complete = True
            return False
        if index <= self.last:
            # A step back: what came so far is all that this agent will ever tell.
            self.result.complete = bool(self.result.rows)
            return False
        self.result.rows[index] = value
        self.last, self.cursor = index, oid
        return len(self.result.rows) < MAX_ROWS

    @property
    def due(self) -> int:
        """Rows still expected, and one more to see the end; beyond that as many again."""
        read = len(self.result.rows)
        return self.expected - read + 1 if read <= self.expected else read


class Session:
    """One look at one device. Ends by its own deadline, `timeout` seconds after `began`."""

    def __init__(
        self, wire: Wire, peer: Peer, manner: Manner, timeout: float, began: float
    ) -> None:
        self._wire, self.peer, self.manner = wire, peer, manner
        self._deadline = began + timeout
        self._wait = min(max(timeout / (_ATTEMPTS + 1), 0.02), 2.0)
        self.packets = 0
        self.most_packets = MAX_PACKETS
        self.first_round_trip: float | None = None
        self.silent = False
        """A table was cut by silence: what is missing may be there next time."""
        self.absent: set[Oid] = set()
        """Scalars that a v1 agent does not have, so that nobody asks again."""

    async def get(self, oids: Sequence[Oid]) -> dict[Oid, Value]:
        """The values that exist. Raises DriverError."""
        found: dict[Oid, Value] = {}
        wanted = [oid for oid in dict.fromkeys(oids) if oid not in self.absent]
        queue = [wanted[at : at + MAX_SCALARS] for at in range(0, len(wanted), MAX_SCALARS)]
        while queue:
            chunk = queue.pop(0)
            pdu = await self._request(Kind.GET, chunk)
            if pdu.error == 0:
                answered = set(chunk)
                for oid, value in pdu.varbinds:
                    if oid in answered and not isinstance(value, Missing) and value is not None:
                        found[oid] = value
            elif pdu.error in (NO_ACCESS, AUTHORIZATION):
                raise Denied("the device does not let this user read")
            elif len(chunk) == 1:
                self.absent.add(chunk[0])
            elif pdu.error != TOO_BIG and 1 <= pdu.error_index <= len(chunk):
                self.absent.add(chunk.pop(pdu.error_index - 1))
                queue.insert(0, chunk)
            else:
                queue[:0] = [chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]]
        return found

    async def tables(
        self, columns: Sequence[Oid], expected: Mapping[Oid, int]
    ) -> dict[Oid, Column]:
        """Whole columns, several at a time; `expected` rows per column save packets.

        Never fails: a column that could not be read to its end is not `complete`.
        """
        walks = [_Walk(c, c, expected.get(c, _UNKNOWN_ROWS)) for c in dict.fromkeys(columns)]
        active, size = list(walks), _VARBINDS
        while active:
            active.sort(key=lambda walk: walk.due)
            chunk, repeat = _batch(active, size, 1 if self.manner.version == 0 else _REPEAT)
            try:
                pdu = await self._next([walk.cursor for walk in chunk], repeat)
            except DriverError:
                self.silent = self.packets < self.most_packets
                break
            if pdu.error == 0 and pdu.varbinds:
                finished = _distribute(chunk, pdu)
            elif pdu.error in (0, TOO_BIG) and len(chunk) * repeat > 1:
                size = max(min(size, len(chunk) * repeat) // 2, 1)
                continue
            else:
                finished = _failed(chunk, pdu)
            active = [walk for walk in active if id(walk) not in finished]
        return {walk.column: walk.result for walk in walks}

    async def put(self, place: Oid, value: int | bytes, *, once: bool = False) -> None:
        """Set one value. Raises DriverError.

        Silence says nothing: the device may have heard. `once`: in one packet, never repeated.
        """
        pdu = await self._request(Kind.SET, [place], value=value, once=once)
        if pdu.error in (NO_SUCH_NAME, READ_ONLY, NO_ACCESS, AUTHORIZATION, NOT_WRITABLE):
            raise Denied("the device does not let this user write that")
        if pdu.error:
            raise ResetFailed(f"the device does not take the value: error {pdu.error}")

    async def _next(self, cursors: list[Oid], repeat: int) -> Answer:
        if self.manner.version == 0:
            return await self._request(Kind.GET_NEXT, cursors)
        return await self._request(Kind.GET_BULK, cursors, repeat)

    async def _request(
        self,
        kind: Kind,
        oids: Sequence[Oid],
        repeat: int = 0,
        *,
        value: int | bytes = 0,
        once: bool = False,
    ) -> Answer:
        for _ in range(_REPORTS):
            number = secrets.randbelow(2**31 - 1) + 1
            outcome = await self._ask(Question(number, kind, tuple(oids), repeat, value), once)
            if not isinstance(outcome, ErrorIndication):
                return outcome
            self.manner.heed(outcome)
        raise Garbled("reports without end instead of an answer")

    async def _ask(self, question: Question, once: bool = False) -> Answer | ErrorIndication:
        loop = asyncio.get_running_loop()
        began = loop.time()
        attempts = min(_ATTEMPTS, int((self._deadline - began) / self._wait))
        attempts = min(attempts, 1) if once else attempts
        if attempts < 1 or self.packets >= self.most_packets:
            raise TimedOut("the device answers too slowly to be read in full")
        self.packets += 1
        try:
            outcome = await self._wire.ask(
                self.peer,
                self.manner,
                question,
                wait=self._wait,
                attempts=attempts,
                until=self._deadline,
            )
        except Unreachable as error:
            if self.first_round_trip is not None:
                raise TimedOut("the device stopped answering half-way") from error
            raise
        if self.first_round_trip is None:
            self.first_round_trip = loop.time() - began
        return outcome


def _batch(active: list[_Walk], size: int, most: int) -> tuple[list[_Walk], int]:
    """Columns of similar length side by side, shortest first, and how many rows of each: so the
    last answer is nearly as full as the first."""
    chunk: list[_Walk] = []
    for walk in active[:size]:
        if chunk and walk.due > 2 * chunk[0].due + 1:
            break
        chunk.append(walk)
    return chunk, max(min(chunk[-1].due, most, size // len(chunk)), 1)


def _distribute(chunk: list[_Walk], pdu: Answer) -> set[int]:
    """Hand the rows of one answer to their columns; the ids of the walks that ended."""
    finished: set[int] = set()
    for at, (oid, value) in enumerate(pdu.varbinds):
        walk = chunk[at % len(chunk)]
        if id(walk) not in finished and not walk.take(oid, value):
            finished.add(id(walk))
    return finished


def _failed(chunk: list[_Walk], pdu: Answer) -> set[int]:
    """An error answer ends the column that it names, or all of them."""
    if not 1 <= pdu.error_index <= len(chunk):
        return {id(walk) for walk in chunk}
    walk = chunk[pdu.error_index - 1]
    # This is how an SNMPv1 agent says that nothing follows.
    walk.result.complete = pdu.error == NO_SUCH_NAME
    return {id(walk)}
