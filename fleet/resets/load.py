"""How much is going on: what is under way, and whether there is a place for one more; pure."""

from collections import Counter
from dataclasses import dataclass, field

from fleet.resets.ways import Way
from fleet.resets.world import Rules


@dataclass(frozen=True)
class Seat:
    """What a reset occupies."""

    device: str
    room: str
    site: str
    uplink: str | None
    way: Way


@dataclass
class Load:
    """Counted up as resets begin. `begun`: within five minutes; `touched`: device → how often it
    was touched within a day."""

    devices: set[str] = field(default_factory=set)
    sites: Counter[str] = field(default_factory=Counter)
    boots: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(`room` or `uplink`, which one) → how many devices start up there."""
    heavy: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    begun: int = 0

    def crowded(self, seat: Seat, rules: Rules, *, automatic: bool = True) -> str:
        """Which limit is reached, as a code; empty: there is a place. `automatic`: nobody asked
        for it, so it counts against the day of the device."""
        way = seat.way
        limits = (
            ("busy", seat.device in self.devices),
            ("too_often", automatic and self.touched[seat.device] >= rules.per_day),
            ("storm", automatic and self.begun >= rules.starts),
            ("fleet_busy", len(self.devices) >= rules.fleet),
            ("site_busy", self.sites[seat.site] >= rules.site),
            ("room_busy", way.boots and self.boots["room", seat.room] >= rules.boots_room),
            (
                "uplink_busy",
                way.boots
                and seat.uplink is not None
                and self.boots["uplink", seat.uplink] >= rules.boots_uplink,
            ),
            ("line_busy", way.heavy and self.heavy[seat.site] >= rules.heavy_site),
        )
        return next((code for code, reached in limits if reached), "")

    def take(self, seat: Seat, *, begins: bool = True) -> None:
        """One more is under way; `begins`: just now."""
        self.devices.add(seat.device)
        self.sites[seat.site] += 1
        if seat.way.boots:
            self.boots["room", seat.room] += 1
            if seat.uplink is not None:
                self.boots["uplink", seat.uplink] += 1
        if seat.way.heavy:
            self.heavy[seat.site] += 1
        if begins:
            self.begun += 1
            self.touched[seat.device] += 1
