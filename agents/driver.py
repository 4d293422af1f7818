"""What a driver is, and the only ways in which it may fail."""

from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from agents.credentials import Credentials
from agents.messages import Facts, Order, Target


class DriverError(Exception):
    """Something went wrong with the device. Any other exception is a bug of ours."""

    code: ClassVar[str] = "failed"
    permanent: ClassVar[bool] = False
    """True: trying again cannot help before a human did something."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or (self.__doc__ or "").splitlines()[0])


class Unreachable(DriverError):
    """No answer, or the connection was refused or lost."""

    code = "unreachable"


class TimedOut(Unreachable):
    """It began to answer and did not finish in time."""

    code = "timed_out"


class ServerSilent(Unreachable):
    """The server that speaks for the device does not answer: nothing is known of the device."""

    code = "server_silent"


class Asleep(Unreachable):
    """It does not answer, but an access point still has it on the Wi-Fi."""

    code = "asleep_wifi"


class Denied(DriverError):
    """The device refused our credentials."""

    code = "denied"
    permanent = True


class HostKeyChanged(Denied):
    """The device shows another SSH host key than before: replaced, or somebody in between."""

    code = "host_key_changed"


class MissingCredential(Denied):
    """The named credential is not on this agent's machine."""

    code = "missing_credential"


class Garbled(DriverError):
    """The answer does not follow the protocol."""

    code = "garbled"


class WrongDevice(Garbled):
    """Another device answered at this address: its serial number is not the expected one."""

    code = "wrong_device"
    permanent = True


class Misconfigured(DriverError):
    """What the inventory says of this device makes no sense to its driver."""

    code = "misconfigured"
    permanent = True


class Refused(DriverError):
    """The device will not be reset now and has touched nothing; `reason` says why."""

    code = "refused"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class Broken(DriverError):
    """The reset was begun and did not come to a good end."""

    def __init__(self, detail: str = "", step: str = "") -> None:
        """`step`: at which of `agents.steps` it broke; empty: nobody knows."""
        super().__init__(detail)
        self.step = step


class ResetFailed(Broken):
    """The device began the reset and says that a step failed."""

    code = "reset_failed"


class NoEnd(Broken):
    """The reset was begun and its end was never heard: nobody knows what happened."""

    code = "no_end"


@runtime_checkable
class SeesStations(Protocol):
    """A driver of access points: which Wi-Fi stations each has, as its last look told."""

    def stations(self, device: str) -> frozenset[str]:
        """MAC addresses such as aa:bb:cc:dd:ee:ff, empty when that is not told."""


@runtime_checkable
class Warns(Protocol):
    """A driver of devices that can tell whoever sits before them something."""

    async def warn(self, target: Target, minutes: int, timeout: timedelta) -> None:
        """Show that in so many minutes (at most 60) all is deleted; 0 takes it back."""


@runtime_checkable
class Recalls(Protocol):
    """A driver of devices that can be stopped as long as they have touched nothing."""

    async def recall(self, target: Target, order: Order, timeout: timedelta) -> bool:
        """Whether it was stopped; then `act` ends as Refused. False: too late, or not begun yet."""


class Driver(Protocol):
    """One way to talk to devices. One object serves all targets of an agent.

    Every call ends within `timeout` (the poller and the worker enforce it once more). A driver
    raises `DriverError` and nothing else for whatever a device may do, and opens no connection
    that it does not close. It never logs or returns a secret.
    """

    def __init__(self, credentials: Credentials, state: Path) -> None:
        """`state`: a folder of this agent for what must outlive it (pinned host keys)."""

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        """Look, change nothing, and return the facts of `agents.facts.FACTS` that it knows.

        A fact that the device does not tell is left out, never guessed. Standby, warming and
        cooling are facts, not failures.
        """

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Reset the device as `order.steps` say, and return when it says that it finished.

        Raises Refused when nothing was touched, ResetFailed when it says so itself, NoEnd when
        it was begun and no end came. Returning proves nothing: the worker looks again.
        Drivers of devices that cannot be reset raise Misconfigured.
        """

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        """The separate, read-only look after a reset, over a new connection."""

    async def close(self) -> None:
        """Give back sockets and threads."""


@runtime_checkable
class Tidies(Protocol):
    """A driver that has something to put right whatever happens."""

    async def tidy(self) -> None:
        """Runs as long as the agent: makes good what an act, or a killed agent, left half-done."""
