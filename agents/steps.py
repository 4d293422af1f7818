"""The steps at which a device's reset can break, by their names: whoever counts failures counts by
these, and calls a name that is not here `other`."""

LAPTOP = (
    "start", "resume", "canary", "prepare", "countdown", "lock", "sessions", "unmount", "prints",
    "network", "home", "residue", "everywhere", "settings", "updates", "alarm", "restart",
    "again", "unlock", "trash",
)  # fmt: skip
"""As the role `room_laptop` names them, in their order."""
TABLET = (
    "screen", "cookies", "webstorage", "cache", "webview", "settings", "start_page", "kiosk_lock",
    "configuration", "restart",
)  # fmt: skip
PROJECTOR = ("power", "input", "mute", "freeze")
POWERED = ("power_off", "power_on")
"""What is restarted by taking its power away."""

STEPS_OF: dict[str, tuple[str, ...]] = {
    "laptop": LAPTOP,
    "tablet": TABLET,
    "projector": PROJECTOR,
    "display": PROJECTOR,
    "access_point": POWERED,
}
"""Kind of device → the steps of its resets."""
STEPS = frozenset(step for steps in STEPS_OF.values() for step in steps)
