"""Every limit that a verdict or a checkpoint depends on, in one place."""

from datetime import timedelta

from inventory import DeviceKind, Point

BEFORE: dict[Point, timedelta] = {
    Point.DAY: timedelta(hours=24),
    Point.HOUR: timedelta(minutes=60),
    Point.QUARTER: timedelta(minutes=15),
}
"""How long before a course the verdict is kept; the one at its start is kept besides."""

LATE = timedelta(minutes=5)
"""After so long nobody can say any more how the room was at that moment."""

SOON = timedelta(hours=24)
"""A room that is not ready is urgent when its course begins within this time."""

LEAST_SHARE = 0.8
"""With this share of the devices that a course wants it can still be held, with restrictions."""

BATTERY_RATIO = 0.4
"""A device with less in its battery has to be plugged in."""
BATTERY_KINDS = frozenset({DeviceKind.LAPTOP, DeviceKind.TABLET})
BATTERY_BEFORE = timedelta(minutes=60)
"""Earlier an empty battery says nothing: it can still be charged. In the course it may go down."""
