"""A projector: PJLink class 1 and 2 over TCP, with a lamp that warms up and cools down."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable

from agents.simulator import Mood
from agents.simulator.tcp import TcpDevice

STANDBY, ON, COOLING, WARMING = "0", "1", "2", "3"
FAULTS = ("fan", "lamp", "temperature", "cover", "filter", "other")


class Projector(TcpDevice):
    """A simulated projector.

    Change it while it runs: `errors["lamp"] = 2` (0 to 2), `failing.add("POWR")` (ERR4),
    `swallowed.add("POWR")` (does it, then closes without an answer), `answer_s` (time for each
    answer), `lazy_s` (how long the old power state is still told), `before` and `after` (bytes
    around each answer), `lower_case`, `password`, `level_2`, `lamp_hours` (None: a laser),
    `press_power()` (the remote control), `burn_out()`. `received` holds all commands.
    """

    def __init__(
        self,
        name: str = "Projektor",
        password: str = "",
        serial: str = "SIM0001",
        lamp_hours: float | None = 812,
        transition_s: float = 10.0,
        *,
        pjlink_class: int = 1,
        vendor: str = "EPSON",
        model: str = "EB-W49",
        idle_s: float = 30.0,
    ) -> None:
        super().__init__()
        self.name = name
        self.password = password
        self.serial = serial
        self.lamp_hours = lamp_hours
        self.transition_s = transition_s
        self.pjlink_class = pjlink_class
        self.vendor = vendor
        self.model = model
        self.idle_s = idle_s
        self.errors = dict.fromkeys(FAULTS, 0)
        self.failing: set[str] = set()
        self.swallowed: set[str] = set()
        self.answer_s = 0.0
        self.lazy_s = 0.0
        self.inputs = ["11", "31", "32"]
        self.input = "31"
        self.input_names = {"11": "VGA", "31": "HDMI 1", "32": "HDMI 2"}
        self.resolution = "1920x1080"
        self.frozen = "0"
        self.volume = 10
        self.level_2 = False
        """It also knows the digest of security level 2."""
        self.mute = "30"
        self.filter_hours = 40
        self.before = b""
        self.after = b""
        self.lower_case = False
        self.deaf_while_changing = False
        self.received: list[str] = []
        self.rejected = 0
        """Connections closed because another session was open."""
        self._power = STANDBY
        self._since = time.monotonic()
        self._session = asyncio.Lock()

    @property
    def power(self) -> str:
        """The digit of the POWR answer; transitions end by themselves."""
        if self._power in (WARMING, COOLING):
            done = self._since + self.transition_s
            if time.monotonic() >= done:
                self._power = ON if self._power == WARMING else STANDBY
                self._since = done
        return self._power

    def press_power(self) -> None:
        """The button: on from standby, off from on, nothing in between."""
        if self.power == STANDBY:
            self._become(WARMING)
        elif self.power == ON:
            if self.lamp_hours is not None:
                self.lamp_hours = self._lamp_now()
            self._become(COOLING)

    def burn_out(self) -> None:
        """The lamp fails: standby at once, and an error for it."""
        self.errors["lamp"] = 2
        self._become(STANDBY)

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One at a time: a second client is let go without a greeting."""
        try:
            async with asyncio.timeout(0.1):
                await self._session.acquire()
        except TimeoutError:
            self.rejected += 1
            return
        try:
            await self._talk(reader, writer)
        finally:
            self._session.release()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protected = bool(self.password) or self.mood is Mood.DENIED
        random = secrets.token_hex(4)
        greeting = f"PJLINK 1 {random}\r" if protected else "PJLINK 0\r"
        await self.send(reader, writer, greeting.encode())
        while True:
            try:
                async with asyncio.timeout(self.idle_s):
                    line = (await reader.readuntil(b"\r"))[:-1].decode()
            except TimeoutError:
                return
            if protected:
                if self.level_2 and line == "PJLINK 2":
                    random = secrets.token_hex(16)
                    await self.send(reader, writer, f"PJLINK 2 {random}\r".encode())
                    continue
                signed = self._signature(random, line)
                if self.mood is Mood.DENIED or not line.startswith(signed):
                    await self.send(reader, writer, b"PJLINK ERRA\r")
                    return
                line, protected = line[len(signed) :], False
            self.received.append(line)
            if self.deaf_while_changing and self.power in (WARMING, COOLING):
                return
            await asyncio.sleep(self.answer_s)
            head = line[:6].lower() if self.lower_case else line[:6]
            reply = f"{head}={self._answer(line)}\r".encode()
            if line[2:6] in self.swallowed and line[7:] != "?":
                return
            await self.send(reader, writer, self.before + reply + self.after)

    def _signature(self, random: str, line: str) -> str:
        """What the first command must begin with; at level 2 the client's own number is in it."""
        if len(random) == 8:
            return hashlib.md5((random + self.password).encode()).hexdigest()
        ours = line[:32]
        try:
            mixed = int(ours, 16) ^ int(random, 16)
        except ValueError:
            return "no number"
        return ours + hashlib.sha256(f"{mixed:032x}{self.password}".encode()).hexdigest()

    def _answer(self, line: str) -> str:
        if len(line) < 8 or line[0] != "%" or line[6] != " ":
            return "ERR1"
        pjclass, command, parameter = line[1], line[2:6].upper(), line[7:]
        commands = self._class_1() if pjclass == "1" else self._class_2()
        if command not in commands or int(pjclass) > self.pjlink_class:
            return "ERR1"
        if command in self.failing:
            return "ERR4"
        ask, change = commands[command]
        if command == "INNM":
            return self.input_names.get(parameter[1:], "ERR2")
        if parameter == "?":
            return ask()
        return change(parameter) if change else "ERR2"

    def _class_1(self) -> dict[str, tuple[Callable[[], str], Callable[[str], str] | None]]:
        return {
            "POWR": (self._power_told, self._set_power),
            "INPT": (lambda: self.input if self.power == ON else "ERR3", self._set_input),
            "AVMT": (lambda: self.mute if self.power == ON else "ERR3", self._set_mute),
            "ERST": (lambda: "".join(str(self.errors[fault]) for fault in FAULTS), None),
            "LAMP": (self._lamp, None),
            "INST": (lambda: " ".join(self.inputs), None),
            "NAME": (lambda: self.name, None),
            "INF1": (lambda: self.vendor, None),
            "INF2": (lambda: self.model, None),
            "INFO": (lambda: "", None),
            "CLSS": (lambda: str(self.pjlink_class), None),
        }

    def _class_2(self) -> dict[str, tuple[Callable[[], str], Callable[[str], str] | None]]:
        stranger = self.mood is Mood.WRONG_DEVICE
        return {
            "SNUM": (lambda: "OTHER" if stranger else self.serial, None),
            "SVER": (lambda: "1.07", None),
            "FILT": (lambda: str(self.filter_hours), None),
            "INPT": (lambda: self.input if self.power == ON else "ERR3", self._set_input),
            "INST": (lambda: " ".join(self.inputs), None),
            "INNM": (lambda: "ERR2", None),
            "IRES": (lambda: self.resolution if self.power == ON else "ERR3", None),
            "RRES": (lambda: "1920x1200", None),
            "FREZ": (lambda: self.frozen if self.power == ON else "ERR3", self._set_freeze),
            "SVOL": (lambda: "ERR2", self._set_volume),
            "MVOL": (lambda: "ERR2", self._set_volume),
            "RLMP": (lambda: "ELPLP97", None),
            "RFIL": (lambda: "ELPAF60 ELPAF32", None),
        }

    def _power_told(self) -> str:
        lazy = time.monotonic() < self._since + self.lazy_s
        return {WARMING: STANDBY, COOLING: ON}.get(self.power, self.power) if lazy else self.power

    def _lamp(self) -> str:
        return "ERR1" if self.lamp_hours is None else f"{self._lamp_now():.0f} {self._lit()}"

    def _lit(self) -> int:
        return int(self.power in (ON, WARMING))

    def _lamp_now(self) -> float:
        burning_s = time.monotonic() - self._since if self.power == ON else 0.0
        return (self.lamp_hours or 0) + burning_s / 3600

    def _set_power(self, parameter: str) -> str:
        if parameter not in ("0", "1"):
            return "ERR2"
        if self.power in (WARMING, COOLING):
            return "ERR3"
        if parameter != self.power:
            self.press_power()
        return "OK"

    def _set_input(self, parameter: str) -> str:
        if self.power != ON:
            return "ERR3"
        if parameter not in self.inputs:
            return "ERR2"
        self.input = parameter
        return "OK"

    def _set_mute(self, parameter: str) -> str:
        if self.power != ON:
            return "ERR3"
        if parameter not in ("10", "11", "20", "21", "30", "31"):
            return "ERR2"
        sound = parameter[0] in "23"
        picture = parameter[0] in "13"
        on = parameter[1] == "1"
        pictured, sounded = self.mute in ("11", "31"), self.mute in ("21", "31")
        pictured, sounded = on if picture else pictured, on if sound else sounded
        self.mute = {(0, 0): "30", (1, 0): "11", (0, 1): "21", (1, 1): "31"}[pictured, sounded]
        return "OK"

    def _set_freeze(self, parameter: str) -> str:
        if parameter not in ("0", "1"):
            return "ERR2"
        if self.power != ON:
            return "ERR3"
        self.frozen = parameter
        return "OK"

    def _set_volume(self, parameter: str) -> str:
        if parameter not in ("0", "1"):
            return "ERR2"
        self.volume = min(max(self.volume + (1 if parameter == "1" else -1), 0), 20)
        return "OK"

    def _become(self, state: str) -> None:
        self._power, self._since = state, time.monotonic()
        if state == WARMING:
            self.mute, self.frozen = "30", "0"
