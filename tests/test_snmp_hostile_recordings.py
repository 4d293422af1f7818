"""Real devices that answer badly, and recordings of them with hostile values put in."""

import asyncio
import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from agents.credentials import Credentials
from agents.driver import DriverError
from agents.drivers.snmp import Snmp
from agents.facts import check_facts
from agents.simulator.snmp import SnmpDevice
from tests.conformance import UNFIT_FOR_SNMPSIM, USER, communities, target
from tests.parts import need
from tests.snmpsim import serving
from tests.test_conformance import recordings

HOSTILE = (
    *("2|-2147483648", "2|2147483647", "2|-1", "2|0", "65|4294967295", "66|4294967295"),
    *("70|18446744073709551615", "67|4294967295", "64|255.255.255.255", "6|1.3.6.1.4.1"),
    *("4|", "4|nan", "4|inf", "4|1e308", "4|99999999999999999999999", "4|-0", "4x|00", "4x|ff"),
    *("4x|c3", "4x|0d0a1b5b324a", "4x|" + "41" * 300, "4|{{ 7 * 7 }}", "4|<script>", "4|%s%n"),
)


def test_agents_that_answer_badly_yield_facts_or_our_errors(tmp_path: Path) -> None:
    """snmpsim falls silent half-way through these, or tells rows out of order."""
    folder, program = recordings(), need("snmpsim-command-responder")
    data, names = tmp_path / "data", sorted(UNFIT_FOR_SNMPSIM)
    data.mkdir()
    for name in names:
        shutil.copy(folder / f"{name}.snmprec", data)

    async def run(port: int, credentials: dict[str, str]) -> int:
        driver, told = Snmp(Credentials(None), tmp_path), 0
        for name in names:
            try:
                look = target(name, port, credentials[name])
                facts = await driver.poll(look, timedelta(seconds=2))
            except DriverError:
                continue
            assert not check_facts(facts), name
            told += 1
        await driver.close()
        return told

    with communities(names) as credentials, serving(program, data, tmp_path / "cache", USER) as at:
        assert asyncio.run(run(at, dict(credentials))) >= 3


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_values_never_become_facts_that_nobody_may_have(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    paths = sorted(recordings().glob("*.snmprec"))

    def hostile(path: Path) -> Path:
        lines = []
        for line in path.read_text("utf-8", "replace").splitlines():
            name, bar, value = line.partition("|")
            system = name.startswith("1.3.6.1.2.1.1.")  # so that its profile is still asked
            lines.append(name + bar + (value if system or chance.random() < 0.4 else _any(chance)))
        made = tmp_path / path.name
        made.write_text("\n".join(lines))
        return made

    async def run() -> None:
        driver = Snmp(Credentials(None), tmp_path)
        with communities(path.stem for path in paths) as credentials:
            for path in paths:
                device = SnmpDevice.from_recording(hostile(path), community=path.stem)
                port = await device.start()
                look = target(path.stem, port, credentials[path.stem])
                for _ in range(2):
                    try:
                        facts = await driver.poll(look, timedelta(seconds=5))
                    except DriverError:
                        continue
                    assert not check_facts(facts), path.stem
                await device.stop()
        await driver.close()

    asyncio.run(run())


def _any(chance: random.Random) -> str:
    return chance.choice(HOSTILE)
