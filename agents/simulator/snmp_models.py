"""The simulated models: small sets of objects whose values move as a real room's would."""

import hashlib
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agents.simulator.snmp_codec import (
    Value,
    counter32,
    counter64,
    dotted,
    gauge,
    octets,
    oid,
    pack,
    signed,
    ticks,
)

Objects = dict[str, Value]
_IF, _IFX = "1.3.6.1.2.1.2.2.1.", "1.3.6.1.2.1.31.1.1.1."

UPTIMES = {"1.3.6.1.2.1.1.3.0": 100, "1.3.6.1.2.1.25.1.1.0": 100}
"""Where a device tells for how long it has run, and in what part of a second."""


class Life:
    """One device's own course of things: smooth in time, different for each seed."""

    __slots__ = ("_born", "_phase", "seed", "serial", "written")

    def __init__(self, seed: int, serial: str) -> None:
        self.seed, self.serial = seed, serial
        self.written: dict[bytes, Value] = {}
        """What somebody has written: name → value, over what the model says."""
        chance = random.Random(seed)
        self._phase = chance.random()
        # Devices have been up for between a day and a year when a simulation begins.
        self._born = time.monotonic() - chance.uniform(86_400, 365 * 86_400)

    @property
    def age(self) -> float:
        return time.monotonic() - self._born

    def restart(self) -> None:
        """It is as if it had just been switched on."""
        self._born = time.monotonic()
        for name, per_s in UPTIMES.items():
            self.written[pack(dotted(name))] = live(lambda m, n=per_s: ticks(m.age * n))  # type: ignore[misc]

    def wave(self, low: float, high: float, period: float, salt: int = 0) -> float:
        """A value that wanders between two bounds."""
        angle = math.tau * (self.age / period + self._phase + salt * 0.381966)
        swing = 0.75 * math.sin(angle) + 0.25 * math.sin(2.7 * angle + salt)
        return low + (high - low) * (0.5 + 0.5 * max(-1.0, min(1.0, swing)))

    def total(self, rate: float, salt: int = 0) -> float:
        """A counter that has grown by `rate` a second, unevenly, but never backwards."""
        angle = math.tau * (self.age / 600 + self._phase + salt * 0.381966)
        return rate * (self.age + 90 * math.sin(angle))

    @property
    def mac(self) -> bytes:
        text = self.serial.replace(":", "")
        if len(text) == 12 and all(c in "0123456789abcdefABCDEF" for c in text):
            return bytes.fromhex(text)
        return b"\x02" + hashlib.sha256(self.serial.encode()).digest()[:5]


def live(make: Callable[[Life], bytes]) -> Value:
    """A value that is made when somebody asks."""
    return make  # type: ignore[return-value]


def _system(descr: str, object_id: str, name: str) -> Objects:
    return {
        "1.3.6.1.2.1.1.1.0": octets(descr),
        "1.3.6.1.2.1.1.2.0": oid(object_id),
        "1.3.6.1.2.1.1.3.0": live(lambda life: ticks(life.age * 100)),
        "1.3.6.1.2.1.1.4.0": octets(""),
        "1.3.6.1.2.1.1.5.0": live(lambda life: octets(f"{name}-{life.seed:04d}")),
        "1.3.6.1.2.1.1.6.0": octets("Lernraum"),
        "1.3.6.1.6.3.10.2.1.3.0": live(lambda life: signed(int(life.age))),
    }


def _port(
    index: int, name: str, *, kind: int = 6, up: bool = True, rate: float = 2e5, mbit: int = 1000
) -> Objects:
    """One row of IF-MIB; `rate` is octets received per second."""
    into, out = (rate, rate / 4) if up else (0.0, 0.0)
    return {
        f"{_IF}1.{index}": signed(index),
        f"{_IF}2.{index}": octets(name),
        f"{_IF}3.{index}": signed(kind),
        f"{_IF}6.{index}": live(lambda life: octets(life.mac)),
        f"{_IF}7.{index}": signed(1),
        f"{_IF}8.{index}": signed(1 if up else 2),
        f"{_IF}10.{index}": live(lambda life: counter32(life.total(into, index))),
        f"{_IF}14.{index}": live(lambda life: counter32(life.total(1e-5 if up else 0, index))),
        f"{_IF}16.{index}": live(lambda life: counter32(life.total(out, index))),
        f"{_IFX}1.{index}": octets(name),
        f"{_IFX}6.{index}": live(lambda life: counter64(life.total(into, index))),
        f"{_IFX}10.{index}": live(lambda life: counter64(life.total(out, index))),
        f"{_IFX}15.{index}": gauge(mbit if up else 0),
        f"{_IFX}17.{index}": signed(1 if kind == 6 else 2),
    }


def _host(cores: int, memory_kib: int, disk: str = "/") -> Objects:
    """HOST-RESOURCES-MIB as net-snmp fills it."""
    storage = "1.3.6.1.2.1.25.2.3.1."
    objects: Objects = {
        "1.3.6.1.2.1.25.1.1.0": live(lambda life: ticks(life.age * 100)),
        "1.3.6.1.4.1.2021.10.1.5.1": live(lambda life: signed(int(life.wave(5, 120, 700)))),
    }
    for core in range(cores):
        objects[f"1.3.6.1.2.1.25.3.3.1.2.{196608 + core}"] = live(
            lambda life, core=core: signed(int(life.wave(1, 35, 300, core)))  # type: ignore[misc]
        )
    rows: list[tuple[int, str, str, int, int, Callable[[Life], float]]] = [
        (1, "2", "Physical memory", 1024, memory_kib, lambda m: memory_kib * m.wave(0.5, 0.7, 900)),
        (6, "1", "Memory buffers", 1024, memory_kib, lambda _: memory_kib * 0.05),
        (7, "1", "Cached memory", 1024, memory_kib // 5, lambda _: memory_kib * 0.2),
        (31, "4", disk, 4096, 200_000, lambda m: 200_000 * m.wave(0.4, 0.45, 86_400)),
    ]
    for index, kind, descr, unit, size, used in rows:
        objects |= {
            f"{storage}2.{index}": oid(f"1.3.6.1.2.1.25.2.1.{kind}"),
            f"{storage}3.{index}": octets(descr),
            f"{storage}4.{index}": signed(unit),
            f"{storage}5.{index}": signed(size),
            f"{storage}6.{index}": live(lambda life, used=used: signed(int(used(life)))),  # type: ignore[misc]
        }
    return objects


def _unifi() -> Objects:
    radios, networks = "1.3.6.1.4.1.41112.1.6.1.1.1.", "1.3.6.1.4.1.41112.1.6.1.2.1."
    objects = _system("U6-Lite 6.5.62.14788", "1.3.6.1.4.1.8072.3.2.10", "ap")
    objects |= _port(1, "lo", kind=24, rate=100) | _port(2, "eth0") | _port(3, "br0")
    objects |= _host(2, 255_000)
    for radio, band in ((1, "ng"), (2, "na")):
        objects[f"{radios}3.{radio}"] = octets(band)
        objects[f"{radios}6.{radio}"] = live(
            lambda life, radio=radio: signed(int(life.wave(3, 60, 240, radio)))  # type: ignore[misc]
        )
    # Two networks, for course and staff, on both radios.
    for vap, (band, channel, most) in enumerate(
        (("ng", 6, 3), ("ng", 6, 1), ("na", 44, 14), ("na", 44, 3)), start=1
    ):
        objects |= {
            f"{networks}4.{vap}": signed(channel),
            f"{networks}6.{vap}": octets("Lernraum" if vap % 2 else "Verwaltung"),
            f"{networks}8.{vap}": live(
                lambda life, vap=vap, most=most: signed(round(life.wave(0, most, 1200, vap)))  # type: ignore[misc]
            ),
            f"{networks}9.{vap}": octets(band),
        }
    objects |= {
        "1.3.6.1.4.1.41112.1.6.3.3.0": octets("U6-Lite"),
        "1.3.6.1.4.1.41112.1.6.3.6.0": octets("6.5.62.14788"),
        "1.3.6.1.4.1.10002.1.1.1.1.1.0": gauge(255_000),
        "1.3.6.1.4.1.10002.1.1.1.1.2.0": live(lambda m: gauge(255_000 * m.wave(0.3, 0.5, 900))),
    }
    return objects


def _aruba() -> Objects:
    ap, radio = "1.3.6.1.4.1.14823.2.3.3.1.2.1.1.", "1.3.6.1.4.1.14823.2.3.3.1.2.2.1."
    mac = "104.40.207.1.2.3"
    objects = _system(
        "ArubaOS (MODEL: 505), Version 8.10.0.6-8.10.0.6", "1.3.6.1.4.1.14823.1.2.131", "iap"
    )
    objects |= {
        f"{ap}4.{mac}": live(lambda life: octets(life.serial)),
        f"{ap}6.{mac}": octets("505"),
        f"{ap}7.{mac}": live(lambda life: signed(int(life.wave(2, 40, 300)))),
        f"{ap}8.{mac}": live(lambda life: signed(int(life.wave(3e8, 4e8, 900)))),
        f"{ap}10.{mac}": signed(1_000_000_000),
        f"{ap}11.{mac}": signed(1),
    }
    for at, (channel, noise, most) in enumerate((("44+", 94, 15), ("6", 91, 4))):
        objects |= {
            f"{radio}4.{mac}.{at}": octets(channel),
            f"{radio}6.{mac}.{at}": signed(noise),
            f"{radio}8.{mac}.{at}": live(
                lambda life, at=at: signed(int(life.wave(2, 55, 240, at)))  # type: ignore[misc]
            ),
            f"{radio}21.{mac}.{at}": live(
                lambda life, at=at, most=most: signed(round(life.wave(0, most, 1200, at)))  # type: ignore[misc]
            ),
        }
    return objects


def _openwrt() -> Objects:
    extend = "1.3.6.1.4.1.8072.1.3.2.3.1.1."

    def row(name: str) -> str:
        return f"{extend}{len(name)}." + ".".join(str(ord(c)) for c in name)

    objects = _system(
        "Linux OpenWrt 5.15.134 #0 SMP Mon Oct 9 21:45:35 2023 mips",
        "1.3.6.1.4.1.8072.3.2.10",
        "openwrt",
    )
    objects |= _host(2, 250_000, "/overlay") | _port(2, "eth0") | _port(3, "br-lan")
    objects |= {
        row("distro"): octets("OpenWrt 23.05.0"),
        row("hardware"): octets("Archer C7 v5"),
        row("clients-wlan"): live(lambda life: octets(str(round(life.wave(0, 18, 1200))))),
    }
    return objects


def _switch() -> Objects:
    objects = _system(
        "EdgeSwitch 24-Port 250W, 1.9.3.5437673, Linux 3.6.5", "1.3.6.1.4.1.4413", "switch"
    )
    for index in range(1, 27):
        objects |= _port(index, f"0/{index}", up=index <= 14 or index == 25, rate=1e4 * index)
    for index in range(66, 72):
        objects |= _port(index, f"3/{index - 65}", kind=161, up=False)
    box = "1.3.6.1.4.1.4413.1.1."
    objects |= {
        "1.3.6.1.2.1.17.1.2.0": signed(26),
        "1.3.6.1.2.1.105.1.3.1.1.2.1": gauge(250),
        "1.3.6.1.2.1.105.1.3.1.1.3.1": signed(1),
        "1.3.6.1.2.1.105.1.3.1.1.4.1": live(lambda life: gauge(life.wave(40, 70, 900))),
        f"{box}1.1.1.4.0": live(lambda life: octets(life.serial)),
        f"{box}1.1.4.1.0": live(lambda life: signed(int(life.wave(80_000, 90_000, 900)))),
        f"{box}1.1.4.2.0": signed(256_404),
        f"{box}1.1.4.9.0": live(
            lambda m: octets(f"5 Secs ({m.wave(5, 40, 60):8.4f}%)   60 Secs ( 16.7571%)")
        ),
        f"{box}43.1.6.1.3.1.0": signed(2),
        f"{box}43.1.6.1.3.1.1": signed(2),
        f"{box}43.1.8.1.5.1.0": live(lambda life: signed(int(life.wave(45, 56, 1800)))),
        f"{box}43.1.8.1.5.1.1": live(lambda life: signed(int(life.wave(35, 41, 1800)))),
    }
    return objects


def _printer() -> Objects:
    device, supply = "1.3.6.1.2.1.25.3.2.1.", "1.3.6.1.2.1.43.11.1.1."
    objects = _system(
        "HP ETHERNET MULTI-ENVIRONMENT,PID:HP Color LaserJet Pro M454dw",
        "1.3.6.1.4.1.11.2.3.9.1",
        "drucker",
    )
    objects |= {
        f"{device}2.1": oid("1.3.6.1.2.1.25.3.1.5"),
        f"{device}3.1": octets("HP Color LaserJet Pro M454dw"),
        f"{device}5.1": signed(2),
        "1.3.6.1.2.1.25.3.5.1.1.1": live(lambda m: signed(4 if m.wave(0, 1, 900) > 0.85 else 3)),
        "1.3.6.1.2.1.25.3.5.1.2.1": octets(b"\x00"),
        "1.3.6.1.2.1.43.5.1.1.16.1": octets("M454dw"),
        "1.3.6.1.2.1.43.5.1.1.17.1": live(lambda life: octets(life.serial)),
        "1.3.6.1.2.1.43.10.2.1.4.1.1": live(lambda life: counter32(12_000 + life.total(0.004))),
    }
    for row, (kind, name) in enumerate(
        ((3, "Black Cartridge"), (3, "Cyan Cartridge"), (3, "Magenta Cartridge"), (9, "Drum")), 1
    ):
        objects |= {
            f"{supply}4.1.{row}": signed(3),
            f"{supply}5.1.{row}": signed(kind),
            f"{supply}6.1.{row}": octets(name),
            f"{supply}7.1.{row}": signed(19),
            f"{supply}8.1.{row}": signed(100),
            f"{supply}9.1.{row}": live(
                lambda life, row=row: signed(int(life.wave(20, 95, 864_000, row)))  # type: ignore[misc]
            ),
        }
    return objects


def _ups() -> Objects:
    ups = "1.3.6.1.2.1.33.1."
    return _system("UPS SNMP Agent", "1.3.6.1.2.1.33", "usv") | {
        f"{ups}1.1.0": octets("Eaton"),
        f"{ups}1.2.0": octets("5P 1150"),
        f"{ups}1.3.0": octets("02.08.0016"),
        f"{ups}2.1.0": signed(2),
        f"{ups}2.2.0": signed(0),
        f"{ups}2.3.0": live(lambda life: signed(int(life.wave(38, 46, 900)))),
        f"{ups}2.4.0": signed(100),
        f"{ups}2.7.0": live(lambda life: signed(int(life.wave(22, 27, 3600)))),
        f"{ups}3.3.1.3.1": live(lambda life: signed(int(life.wave(226, 234, 600)))),
        f"{ups}4.1.0": signed(3),
        f"{ups}4.4.1.4.1": live(lambda life: signed(int(life.wave(150, 300, 600)))),
        f"{ups}4.4.1.5.1": live(lambda life: signed(int(life.wave(15, 30, 600)))),
    }


@dataclass(frozen=True)
class Model:
    """A kind of simulated device: the agents' profile that should recognise it, and its objects."""

    profile: str
    kind: str
    """The inventory's kind of device."""
    build: Callable[[], Objects]
    prefix: str

    def serial(self, seed: int) -> str:
        return f"{self.prefix}{seed % 2**24:06X}"

    def objects(self) -> dict[tuple[int, ...], Value]:
        return dict(self._items())

    def _items(self) -> Iterator[tuple[tuple[int, ...], Value]]:
        for name, value in self.build().items():
            yield dotted(name), value


MODELS = {
    "unifi-ap": Model("unifi-ap", "access_point", _unifi, "F09FC2"),
    "aruba-ap": Model("aruba-instant", "access_point", _aruba, "PHRC"),
    "openwrt-ap": Model("openwrt-ap", "access_point", _openwrt, "OWRT"),
    "switch-poe": Model("fastpath-switch", "switch", _switch, "F03E34"),
    "printer": Model("hp-printer", "printer", _printer, "VNB3J"),
    "ups": Model("ups-mib", "ups", _ups, "G117"),
}
