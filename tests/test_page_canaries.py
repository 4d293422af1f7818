"""The page of the reset's own test: true for each room, in order of urgency, and only one's own."""

import re
from datetime import timedelta

from sqlmodel import select

from dashboards.canaries import STATES
from fleet.canary import CANARY
from fleet.metrics.trust import CANARY_STATES
from inventory import Device, DeviceKind, Recipe, ResetRun, Room, RunState
from inventory.db import session
from inventory.recipes import BUILT_IN
from tests.sample import House

pytest_plugins = ("tests.house",)


def canaries(house: House, **ends: tuple[RunState, str]) -> None:
    """A canary of last night in the rooms (`_` for `-`), with this end."""
    at = house.clock.now - timedelta(hours=5)
    with session(house.engine) as opened:
        if opened.get(Recipe, CANARY) is None:
            opened.add(Recipe.model_validate(BUILT_IN[CANARY].model_dump()))
            opened.flush()
        for room, (state, reason) in ends.items():
            laptop = opened.exec(
                select(Device).where(
                    Device.room_id == room.replace("_", "-"), Device.kind == DeviceKind.LAPTOP
                )
            ).first()
            assert laptop
            opened.add(
                ResetRun(
                    id=f"canary-{room}"[:32], device_id=laptop.id, recipe_id=CANARY, state=state,
                    reason=reason, planned_at=at, not_before=at, not_after=at, deadline=at,
                    next_try_at=at, requested_by="canary",
                )
            )  # fmt: skip


def rows(text: str) -> list[str]:
    return re.findall(r'id="canary-([\w-]+)"', text)


def test_every_state_has_a_word() -> None:
    assert set(STATES) == set(CANARY_STATES)


def test_what_is_wrong_comes_first_and_is_said(house: House) -> None:
    before = house.browser("ida").get("/selbsttest").text
    assert "steht noch aus" in before
    assert "nicht bestanden oder überfällig" not in before
    room = rows(before)[-1]
    canaries(house, **{room.replace("-", "_"): (RunState.FAILED, "not_clean")})
    after = house.browser("ida").get("/selbsttest").text
    assert "nicht bestanden oder überfällig" in after
    assert "Die Prüfung fand noch Spuren" in after
    english = house.browser("ida", "en").get("/selbsttest").text
    assert "not passed" in english
    # It is no reset that somebody asked for.
    assert "canary" not in house.browser("ida").get("/heute").text
    assert "/selbsttest" in house.browser("ida").get("/heute").text


def test_a_pass_is_shown_with_its_time_and_laptop(house: House) -> None:
    room = rows(house.browser("ida").get("/selbsttest").text)[0]
    canaries(house, **{room.replace("-", "_"): (RunState.VERIFIED, "")})
    text = house.browser("ida").get("/selbsttest").text
    assert "bestanden" in text
    with session(house.engine) as opened:
        run = opened.exec(select(ResetRun).where(ResetRun.recipe_id == CANARY)).one()
        laptop = opened.get_one(Device, run.device_id)
    assert f'href="/geraet/{laptop.id}"' in text
    assert "Selbsttest" in house.browser("ida").get(f"/geraet/{laptop.id}").text


def test_only_rooms_of_ones_own_municipality(house: House) -> None:
    everybody = {name: rows(house.browser(name).get("/selbsttest").text) for name in house.people}
    with session(house.engine) as opened:
        all_rooms = set(opened.exec(select(Room.id)))
    assert set(everybody["ida"]) <= all_rooms
    assert any(set(seen) != set(everybody["ida"]) for seen in everybody.values())
    assert house.browser().get("/selbsttest").status_code == 303
