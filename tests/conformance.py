"""Profiles against recordings of real devices, counted: `python -m tests.conformance`.

The folder of recordings is named by FLEET_RECORDINGS and is no part of this project. A value counts
only if a poll over UDP tells it: snmpsim serves the recordings, but for those that it breaks.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from agents.credentials import Credentials
from agents.drivers.snmp import Snmp
from agents.facts import FACTS
from agents.messages import Facts, Target
from agents.simulator.snmp import SnmpDevice
from tests.snmp_answers import IDENTITY, QUANTITIES, Answers
from tests.snmp_key import Allowed
from tests.snmpsim import serving

README = Path(__file__).parents[1] / "agents" / "README.md"
BEGIN, END = "<!-- python -m tests.conformance --write -->", "<!-- end -->"
UNFIT_FOR_SNMPSIM = frozenset(
    {
        *("windows_svr_2019_1809", "allied_awplusv2"),  # it falls silent half-way
        *("canonprinter_lbp", "hiveos-wireless_2", "zyxelnwa"),  # rows that are not in order
    }
)
"""snmpsim does not serve these in full; the simulator's own agent does."""
AT_ONCE = 28
"""snmpsim keeps 31 recordings open and thrashes beyond."""
COMPARED = (*QUANTITIES, *IDENTITY, "memory_total_bytes")
TRAFFIC = ("in_bytes", "out_bytes", "errors")
SLACK = {
    **dict.fromkeys(("cpu_ratio", "memory_ratio", "supply_ratio", "load_ratio"), 0.0051),
    **{"disk_ratio": 0.0051, "runtime_s": 30, "temperature_c": 0.06, "voltage_v": 0.06},
    **{"utilisation_ratio": 0.0051, "power_watts": 0.06, "poe_watts": 0.06},
}
OTHER_WORDS = {
    ("apc-ups", "firmware"): "ours is the UPS's, the key has its network card's",
    ("linux-host", "firmware"): "ours is the kernel's, the key has the distribution's",
    ("windows-host", "firmware"): "ours is the version, the key the name that was advertised",
    ("fortiap", "model"): "FP231G and FortiAP 231G",
    ("zebra-printer", "model"): "the key has an order number",
    ("konica-printer", "model"): "sold under another name",
    ("hp-printer", "model"): "named by the owner",
}


DISPUTED = {
    ("airos_airos8", "temperature_c"): "the device says 160000000, which the key divides at will",
    ("netagent2", "runtime_s"): "9999 is what this card says when it does not know",
    ("unifi", "cpu_ratio"): "the key takes a load average for the processor's use",
    ("engenius-switch_ecs1552p", "ports"): "the device tells 52 ports, the key lists 24",
    ("engenius-switch_ecs1552p", "ports_up"): "as above",
    ("edgeswitch_usw-5-flex-v2", "ports"): "its agent shows its processor's port, not the switch's",
    ("edgeswitch_usw-5-flex-v2", "ports_up"): "as above",
}
"""Values of the key that are not the device's: neither asked for nor counted."""


@dataclass
class Found:
    """One recording against its key."""

    recording: str
    facts: Facts
    health: int = 0
    right: int = 0
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    identity: int = 0
    identity_right: int = 0
    left_out: int = 0

    @property
    def profile(self) -> str:
        return str(self.facts["profile"])


def compare(name: str, kind: str, facts: Facts, answers: Answers | None) -> Found:
    """`kind`: what the list of recordings calls it: ap, switch, printer, ..."""
    found = Found(name, facts)
    if answers is None:
        return found
    for fact in COMPARED:
        allowed = answers.allowed(fact)
        if not allowed or (found.profile, fact) in OTHER_WORDS or (name, fact) in DISPUTED:
            continue
        wanted = fact in QUANTITIES and _wanted(fact, kind)
        found.health += wanted
        found.identity += fact in IDENTITY
        if fact not in facts:
            if wanted or fact in IDENTITY:
                lines = found.missing if wanted else found.unnamed
                lines.append(f"{name}: {fact} is missing, the key says {allowed}")
        elif not agrees(fact, facts[fact], allowed):
            found.wrong.append(f"{name}: {fact} is {facts[fact]!r}, the key says {allowed}")
        else:
            found.right += wanted
            found.identity_right += fact in IDENTITY
    found.left_out = answers.left_out()
    return found


def _wanted(fact: str, kind: str) -> bool:
    """Traffic is health of what passes it on or computes, ports of what has them to plug into."""
    if fact in ("ports", "ports_up"):
        return kind in ("switch", "gateway")
    return fact not in TRAFFIC or kind in ("switch", "gateway", "ap", "wlc", "host")


def agrees(fact: str, value: Any, allowed: Allowed) -> bool:
    if isinstance(value, bool) or FACTS[fact].values:
        return value in allowed
    if fact == "supplies":
        return "; ".join(sorted(line.rpartition(": ")[2] for line in value)) in allowed
    if isinstance(value, list):
        return "; ".join(sorted(value)) in allowed
    if isinstance(value, str):
        # One names the model or version more fully than the other.
        plain = value.casefold()
        return any(plain in str(a).casefold() or str(a).casefold() in plain for a in allowed)
    slack = SLACK.get(fact, 0)
    return any(abs(value - float(a)) <= max(slack, abs(value) * 1e-6) for a in allowed)


def answers(folder: Path, name: str) -> Answers | None:
    key = folder / "expected" / f"{name}.json"
    return Answers(key, folder / f"{name}.snmprec") if key.exists() else None


def target(name: str, port: int, credential: str, **options: str) -> Target:
    return Target(
        device=name[:63],
        room="r",
        kind="access_point",
        driver="snmp",
        address="127.0.0.1",
        port=port,
        credential=credential,
        options=options,
    )


USER = {
    "user": "simulator",
    "auth_protocol": "SHA256",
    "auth_password": "auctoritas",
    "priv_protocol": "AES128",
    "priv_password": "privatus1",
}


@contextmanager
def communities(names: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """Recording → the name of a credential that asks for it."""
    made = {name: f"recording_{at}" for at, name in enumerate(names)}
    variables = {f"RAUMWART_SECRET_{value.upper()}": key for key, value in made.items()}
    os.environ |= {name: json.dumps({"community": of}) for name, of in variables.items()}
    try:
        yield made
    finally:
        for name in variables:
            del os.environ[name]


async def from_memory(driver: Snmp, folder: Path, name: str, credential: str) -> Facts:
    """Serve a recording by the simulator's agent on a socket of its own, and poll it."""
    device = SnmpDevice.from_recording(folder / f"{name}.snmprec", community=name)
    port = await device.start()
    try:
        return await driver.poll(target(name, port, credential), timedelta(seconds=10))
    finally:
        await device.stop()


def poll_all(folder: Path, program: Path) -> dict[str, Facts]:
    """Every recording polled by v2c, a handful at a time."""
    names = sorted(path.stem for path in folder.glob("*.snmprec"))
    served = [name for name in names if name not in UNFIT_FOR_SNMPSIM]
    facts: dict[str, Facts] = {}
    with communities(names) as credentials, tempfile.TemporaryDirectory() as scratch:

        async def some(batch: list[str], port: int) -> None:
            driver = Snmp(Credentials(None), Path(scratch))
            for name in batch:
                look = target(name, port, credentials[name])
                facts[name] = await driver.poll(look, timedelta(seconds=30))
            await driver.close()

        async def rest() -> None:
            driver = Snmp(Credentials(None), Path(scratch))
            for name in sorted(UNFIT_FOR_SNMPSIM & set(names)):
                facts[name] = await from_memory(driver, folder, name, credentials[name])
            await driver.close()

        for at in range(0, len(served), AT_ONCE):
            batch, data = served[at : at + AT_ONCE], Path(scratch) / f"data{at}"
            data.mkdir()
            for name in batch:
                shutil.copy(folder / f"{name}.snmprec", data)
            with serving(program, data, Path(scratch) / f"cache{at}", USER) as port:
                asyncio.run(some(batch, port))
        asyncio.run(rest())
    return facts


def measure(folder: Path, program: Path) -> list[Found]:
    kinds = dict(
        line.split("\t")[:2] for line in (folder / "MANIFEST.tsv").read_text().splitlines()
    )
    facts = poll_all(folder, program)
    return [
        compare(name, kinds.get(name, ""), facts[name], answers(folder, name))
        for name in sorted(facts)
    ]


def table(found: Iterable[Found]) -> str:
    by_profile: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        by_profile[one.profile].append(one)
    lines = [
        "| profile | recordings | health values in the key | found | wrong | model, firmware, "
        "serial | other rows of the key |",
        "|---|---|---|---|---|---|---|",
    ]
    for profile, some in [*sorted(by_profile.items()), ("all", list(found))]:
        health, right = sum(f.health for f in some), sum(f.right for f in some)
        told = f"{right} ({right / health:.0%})" if health else "–"
        identity, known = sum(f.identity for f in some), sum(f.identity_right for f in some)
        name = f"`{profile}`" if profile != "all" else "all"
        lines.append(
            f"| {name} | {len(some)} | {health} | {told} | {sum(len(f.wrong) for f in some)} "
            f"| {known} of {identity} | {sum(f.left_out for f in some)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Prints the table and what is wrong or missing; with --write into agents/README.md."""
    folder = Path(os.environ["FLEET_RECORDINGS"])
    program = shutil.which("snmpsim-command-responder", path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit("snmpsim-command-responder is not installed")
    found = measure(folder, Path(program))
    for one in found:
        for line in (*one.wrong, *one.missing, *one.unnamed):
            print(line, file=sys.stderr)
    made = table(found)
    print(made)
    if "--write" in sys.argv[1:]:
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
