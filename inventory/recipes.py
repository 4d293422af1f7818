"""The recipes that come with Raumwart, and which one a kind of device gets by default."""

from sqlmodel import Session, select

from inventory.device import DeviceKind
from inventory.reset import Recipe

LOOK_ONLY = "look-only"
"""For devices that guests leave nothing on: nothing is done, a fresh look is the proof."""

CANARY = "laptop-canary"
"""The nightly test of the reset itself; never a device's own recipe."""

_LAPTOP = Recipe(
    id="laptop-reset",
    name="Laptop: new home for the guest, nothing left of the last one",
    steps={"tier": "quick", "profile": "standard"},
    expects={
        "reset_id": {"is": "order"},
        "home_clean": True,
        "residue": 0,
        "used_since": False,
    },
    tiers={
        "quick": {},
        # Anew from the start: also what only a start takes away is gone.
        "standard": {
            "steps": {"tier": "standard"},
            "max_runtime_s": 300,
            "settle_s": 30,
            "boots": True,
        },
        # With updates; only where nobody comes for hours, as at night.
        "full": {
            "steps": {"tier": "full"},
            "max_runtime_s": 3600,
            "settle_s": 30,
            "boots": True,
            "heavy": True,
            "gap_s": 6 * 3600,
        },
    },
)
_CANARY = Recipe(
    id=CANARY,
    name="Laptop: plant traces as a guest, reset, and see that each is gone",
    steps={**_LAPTOP.steps, "canary": True},
    expects={**_LAPTOP.expects, "canary_planted": {"min": 3}, "canary_unseen": 0},
    max_runtime_s=180,
    tries=1,
)
_TABLET = Recipe(
    id="tablet-reset",
    name="Tablet: browser emptied, start page, locked to the kiosk",
    steps={
        "clear": ["cookies", "webstorage", "cache"],
        "webview": True,
        "start_page": True,
        "lock": True,
    },
    expects={"on_start_page": True, "kiosk_locked": True},
)
_START_PAGE = Recipe(
    id="tablet-start-page",
    name="Tablet: cache emptied, start page; cookies and what guests typed in stay",
    steps={"clear": ["cache"], "start_page": True},
    expects={"on_start_page": True, "screen_on": True},
)
_CONFIGURATION = Recipe(
    id="tablet-configuration",
    name="Tablet: configuration fetched anew, locked to the kiosk; what guests left stays",
    steps={"refresh": True},
    expects={"kiosk_locked": True, "report_age_s": {"max": 600}},
    settle_s=60,
)
_REST = Recipe(
    id="projector-rest",
    name="Projector: off after the last course of the day",
    steps={"power": "standby"},
    expects={"at_rest": True},
    max_runtime_s=180,
)
_PROJECTOR = Recipe(
    id="projector-ready",
    name="Projector: on, first HDMI input, picture and sound",
    steps={"power": "on", "input": "31", "mute": False, "freeze": False},
    expects={"power": "on", "input": "31", "picture_muted": False, "sound_muted": False},
    max_runtime_s=180,
    lead_s=900,
    rest_id=_REST.id,
    tiers={"quick": {"noisy": True}},
)
_STAYS = Recipe(
    **_PROJECTOR.model_dump(exclude={"id", "name", "rest_id"}),
    id="projector-stays-on",
    name="Projector: as ready, but left on after the last course",
)
_POINT_CHECK = Recipe(
    id="access-point-check",
    name="Access point: up for two minutes, tells its clients",
    expects={"uptime_s": {"min": 120}, "clients": {"min": 0}},
)
_POINT_RESTART = Recipe(
    id="access-point-restart",
    name="Access point: restarted, where its profile knows how",
    steps={"do": "restart"},
    expects={"uptime_s": {"max": 900}},
    max_runtime_s=60,
    settle_s=120,
)
_POINT_POWER = Recipe(
    id="access-point-power-cycle",
    name="Access point: restarted by taking its power away at the switch",
    steps={"do": "power_cycle"},
    expects={"uptime_s": {"max": 900}},
    max_runtime_s=60,
    settle_s=120,
)
_LOOK_ONLY = Recipe(id=LOOK_ONLY, name="Look only: answers, nothing is done")

_ALL = (
    *(_LAPTOP, _CANARY, _TABLET, _START_PAGE, _CONFIGURATION, _PROJECTOR, _STAYS, _REST),
    *(_POINT_CHECK, _POINT_RESTART, _POINT_POWER, _LOOK_ONLY),
)
BUILT_IN = {recipe.id: recipe for recipe in _ALL}

DEFAULT_RECIPE: dict[DeviceKind, str] = dict.fromkeys(DeviceKind, LOOK_ONLY) | {
    DeviceKind.LAPTOP: _LAPTOP.id,
    DeviceKind.TABLET: _TABLET.id,
    DeviceKind.PROJECTOR: _PROJECTOR.id,
}
_OF_DRIVER: dict[tuple[DeviceKind, str], str] = {
    (DeviceKind.TABLET, "freekiosk"): _START_PAGE.id,
    (DeviceKind.TABLET, "headwind"): _CONFIGURATION.id,
}
"""Where what the kind's recipe asks for is more than the driver can do: it would always fail."""


def usual_recipe(kind: DeviceKind, driver: str) -> str:
    """What a device gets that names no recipe."""
    return _OF_DRIVER.get((kind, driver), DEFAULT_RECIPE[kind])


def ensure_recipes(session: Session) -> None:
    """Insert the built-in recipes that are missing; one that somebody edited stays as it is."""
    present = set(session.exec(select(Recipe.id)))
    session.add_all(
        Recipe.model_validate(recipe.model_dump())
        for recipe in BUILT_IN.values()
        if recipe.id not in present
    )
    session.flush()
