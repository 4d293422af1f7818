"""What may be written to a simulated SNMP agent, as net-snmp and its like answer a SET."""

from agents.simulator.snmp_codec import Request, Tree, dotted, grant, refuse, take, unpack
from agents.simulator.snmp_models import Life

NO_SUCH_NAME, BAD_VALUE = 2, 3
NO_ACCESS, WRONG_TYPE, NOT_WRITABLE = 6, 7, 17
_OLD = {NO_ACCESS: NO_SUCH_NAME, NOT_WRITABLE: NO_SUCH_NAME, WRONG_TYPE: BAD_VALUE}
"""What SNMPv1 says instead."""


class Writes:
    """The places of one device that take a value, by where they begin. `history`: all that was
    written, in order, each as its name and its content."""

    def __init__(self, community: str, places: tuple[str, ...], restart: str = "") -> None:
        """`restart`: the place that starts the device anew, whatever is written there."""
        self.community = community.encode()
        self.history: list[tuple[str, bytes]] = []
        self._restart = restart
        self._places = tuple(dotted(place) for place in (*places, *([restart] if restart else [])))

    def answer(
        self, tree: Tree, request: Request, life: Life, *, v1: bool, allowed: bool
    ) -> tuple[bytes, bool]:
        """The response, and whether the device starts anew. All is written, or nothing."""
        for at, (name, value) in enumerate(zip(request.names, request.values, strict=True), 1):
            error = self._error(tree, name, value, life) if allowed else NO_ACCESS
            if error:
                return refuse(request, _OLD[error] if v1 else error, at), False
        restarts = False
        for name, value in zip(request.names, request.values, strict=True):
            place = ".".join(map(str, unpack(name)))
            self.history.append((place, take(value, 0)[1]))
            life.written[name] = value
            restarts |= place == self._restart
        return grant(request), restarts

    def _error(self, tree: Tree, name: bytes, value: bytes, life: Life) -> int:
        ids = unpack(name)
        now = tree.get(name, life)
        if now is None or not any(ids[: len(place)] == place for place in self._places):
            return NOT_WRITABLE
        return 0 if value[:1] == now[:1] else WRONG_TYPE
