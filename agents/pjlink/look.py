"""Look at a projector: what changes is asked at each look, who it is only now and then."""

from dataclasses import dataclass, field

from agents.driver import Garbled, WrongDevice
from agents.messages import Facts, Target
from agents.pjlink import protocol
from agents.pjlink.lamp import DARK
from agents.pjlink.session import Session

NAMES_AT_ONCE = 4
"""Names of inputs that one look asks for: a slow projector must not use up its time for them."""
MOST_INPUTS = 20


@dataclass
class Memory:
    """What need not be asked at each look. `until`: when it is to be forgotten."""

    until: float
    identity: Facts = field(default_factory=dict)
    second: bool = False
    """It speaks class 2."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Input → its name, empty for one that has none."""
    unnamed: list[str] = field(default_factory=list)
    """Inputs that were not asked for their name yet."""


async def look(session: Session, target: Target, memory: Memory) -> Facts:
    """All facts. `memory` is filled when empty, and believed when not. Raises WrongDevice."""
    facts = await session.facts("POWR")
    powered = facts.get("power") == "on"
    if powered:
        facts |= await session.facts("INPT")
        facts |= await session.facts("AVMT")
    if "power" in facts:
        facts["at_rest"] = facts["power"] in DARK or facts.get("picture_muted", False)
    facts |= await session.facts("ERST")
    facts |= await session.facts("LAMP")
    if not memory.identity:
        await _identify(session, memory)
    elif target.serial and "serial" in memory.identity:
        memory.identity |= await session.facts("SNUM", "2")
    check_serial(memory.identity, target)
    if powered and memory.second:
        facts |= await session.optional("IRES", "2")
        facts |= await session.optional("FREZ", "2")
    await _name_inputs(session, memory)
    facts |= memory.identity
    if not facts:
        raise Garbled("it answers no question")
    if memory.inputs:
        facts["inputs"] = [f"{code} {name}".strip() for code, name in memory.inputs.items()]
    if session.failing and facts.get("other_state", "ok") == "ok":
        facts["other_state"] = "warning"
    return facts


async def _identify(session: Session, memory: Memory) -> None:
    """Fill the memory whole or, when the line breaks, not at all."""
    known: Facts = {}
    for command in ("NAME", "INF1", "INF2"):
        known |= await session.facts(command)
    second = await session.send("CLSS") == "2"
    if second:
        for command in ("SNUM", "SVER", "FILT"):
            known |= await session.facts(command, "2")
        for command in ("RRES", "RLMP", "RFIL"):
            known |= await session.optional(command, "2")
    known |= await session.optional("INFO")
    listed = protocol.inputs(await session.send("INST", pjclass="2" if second else "1"))
    memory.identity, memory.second = known, second
    memory.inputs = dict.fromkeys(listed[:MOST_INPUTS], "")
    memory.unnamed = list(memory.inputs) if second else []


async def _name_inputs(session: Session, memory: Memory) -> None:
    for code in memory.unnamed[:NAMES_AT_ONCE]:
        name = await session.send("INNM", f"?{code}", "2")
        if name not in protocol.COMPLAINTS:
            memory.inputs[code] = "".join(filter(str.isprintable, name)).strip()[:20]
        memory.unnamed.remove(code)


def check_serial(facts: Facts, target: Target) -> None:
    """Raises WrongDevice when the facts name another serial number than the inventory."""
    serial = facts.get("serial", "")
    if target.serial and serial and serial.casefold() != target.serial.strip().casefold():
        raise WrongDevice(f"serial number {serial} instead of {target.serial}")
