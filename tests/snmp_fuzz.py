"""Right answers, spoilt: a flood of them before, or instead of, each answer of a device.

Whatever they hold, a poll ends with facts that the registry takes or with a DriverError.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agents.driver import DriverError
from agents.drivers.snmp import Snmp
from agents.facts import check_facts
from agents.simulator.snmp import MODELS, SnmpDevice
from tests.snmp_targets import USER, lying, target

AT_ONCE = 20
FLOOD = 24
"""Spoilt answers for each question, on average half of them."""
TIME = timedelta(seconds=0.6)
TAGS = bytes((0x02, 0x04, 0x05, 0x06, 0x30, 0x40, 0x41, 0x42, 0x43, 0x44, 0x46, 0x80, 0x82, 0xA2))


@dataclass
class Tally:
    """What came of it."""

    answers: int = 0
    polls: int = 0
    failed: int = 0
    complaints: list[str] = field(default_factory=list)
    unhandled: list[Any] = field(default_factory=list)


def spoilt(right: bytes, chance: random.Random, earlier: list[bytes]) -> bytes:
    """The answer with one to four kinds of damage."""
    found = bytearray(right)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(found)) if found else 0
        match chance.randrange(8):
            case 0:
                found[at : at + 1] = chance.randbytes(1)
            case 1:
                del found[at:]
            case 2:
                found[at : at + chance.randint(0, 6)] = chance.randbytes(chance.randint(0, 6))
            case 3:
                found[at : at + 1] = chance.choice((b"\x80", b"\xff", b"\x84\xff\xff\xff\xff"))
            case 4:
                found[at : at + 1] = bytes([chance.choice(TAGS)])
            case 5:
                found += found[at:]
            case 6:
                found[at:at] = b"\x30\x80" * chance.randint(1, 200)
            case 7:
                found[at:] = chance.choice(earlier)[at:] if earlier else b""
    return bytes(found)


async def fuzz(driver: Snmp, answers: int, seed: int) -> Tally:
    """Poll simulated devices of all models and versions until so many answers were spoilt.

    An exception that is no DriverError ends it. The driver must know `public` and `v3`.
    """
    tally, gate, chance = Tally(), asyncio.Semaphore(AT_ONCE), random.Random(seed)
    asyncio.get_running_loop().set_exception_handler(lambda _, said: tally.unhandled.append(said))

    async def one(number: int) -> None:
        device = SnmpDevice(list(MODELS)[number % len(MODELS)], seed=number, v3=USER)
        earlier: list[bytes] = []

        def lie(data: bytes) -> Iterable[bytes]:
            right = device.reply(data)
            if right is None:
                return
            for _ in range(chance.randint(0, FLOOD)):
                tally.answers += 1
                yield spoilt(right, chance, earlier)
            earlier[:] = [*earlier[-7:], right]
            if chance.random() < 0.9:
                yield right

        version = ("1", "2c", "3")[number % 3]
        async with gate, lying(lie) as (port, _):
            look = target(port, version, device=f"d-{number}")
            for _ in range(2):
                tally.polls += 1
                try:
                    facts = await driver.poll(look, TIME)
                except DriverError:
                    tally.failed += 1
                else:
                    tally.complaints += check_facts(facts)

    number = 0
    while tally.answers < answers:
        await asyncio.gather(*map(one, range(number, number + AT_ONCE)))
        number += AT_ONCE
    return tally
