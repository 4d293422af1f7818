"""Devices written down for a test: a handful of objects, as the simulator's agent serves them."""

from pathlib import Path

from agents.simulator.snmp import SnmpDevice, V3User

SYSTEM = "1.3.6.1.2.1.1."
ENTERPRISE = "1.3.6.1.4.1."
Told = int | str | bytes


class Ticks(int):
    """Hundredths of a second."""


class Long(int):
    """A 64-bit counter."""


class Short(int):
    """A 32-bit counter."""


class Name(str):
    """An OID that is a value."""

    __slots__ = ()


def written(
    folder: Path,
    sys_descr: str,
    sys_object_id: str,
    objects: dict[str, Told],
    *,
    uptime: bool = True,
    v3: V3User | None = None,
) -> SnmpDevice:
    """A device with these objects; an OID that does not begin with 1. is a maker's."""
    whole: dict[str, Told] = {
        f"{SYSTEM}1.0": sys_descr,
        f"{SYSTEM}2.0": Name(sys_object_id),
        f"{SYSTEM}5.0": "written",
    }
    if uptime:
        whole[f"{SYSTEM}3.0"] = Ticks(8_640_000)
    whole |= {k if k.startswith("1.") else ENTERPRISE + k: v for k, v in objects.items()}
    path = folder / "written.snmprec"
    path.write_text("".join(f"{name}|{_said(value)}\n" for name, value in whole.items()))
    return SnmpDevice.from_recording(path, v3=v3)


def _said(value: Told) -> str:
    if isinstance(value, bytes):
        return f"4x|{value.hex()}"
    tags = {Ticks: 67, Long: 70, Short: 65, Name: 6, int: 2, str: 4}
    return f"{tags[type(value)]}|{value}"
