"""How long each projector's lamp has burned, as far as this agent saw it."""

LIT, DARK = frozenset({"on", "warming"}), frozenset({"standby", "cooling"})
Place = tuple[str, int]


class Lamps:
    """`now` is a clock that only goes forward, in seconds."""

    def __init__(self, shortest_s: float) -> None:
        """`shortest_s`: a lamp that was lit shall burn at least this long."""
        self._shortest_s = shortest_s
        self._power: dict[Place, str] = {}
        self._lit_at: dict[Place, float] = {}

    def saw(self, place: Place, power: str, now: float) -> None:
        """Remember a power state that the projector told."""
        if power in LIT and self._power.get(place) in DARK:
            self._lit_at[place] = now
        if power in LIT | DARK:
            self._power[place] = power

    def young(self, place: Place, now: float) -> bool:
        """Whether it was lit too lately to be put out. When nobody saw it lit: no."""
        lit_at = self._lit_at.get(place)
        return lit_at is not None and now - lit_at < self._shortest_s
