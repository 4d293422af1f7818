"""Where people do not want the canary: nobody is woken for it, and nobody says that it passed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select
from typer.testing import CliRunner

from fleet import api, canary, overrides, resets
from fleet.canary import CANARY
from fleet.cli import main
from fleet.overrides import Scope
from inventory import Override, OverrideKind, Recipe
from inventory.db import migrate, open_engine, reading, session
from inventory.recipes import BUILT_IN
from tests.room import HOUR, MINUTE, heard
from tests.sample import House
from tests.test_canary import (
    DAY,
    NIGHT,
    SETTINGS,
    a_night,
    a_reset,
    canaries,
    doubts,
    furnish,
    stand,
    tick,
)
from tests.test_metrics import scrape

pytest_plugins = ("tests.house",)
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def switch_off(engine: Engine, scope: Scope) -> int:
    with session(engine) as opened:
        said = overrides.say(opened, OverrideKind.STOP, scope, NIGHT, "ida", reason="Brandschutz")
        assert said.id is not None
        return said.id


@on_sqlite
@pytest.mark.parametrize("scope", [{"room": "r1"}, {"site": "vhs"}, {}])
def test_neither_failed_nor_overdue_but_off(engine: Engine, scope: dict[str, str]) -> None:
    for room in ("r1", "r2"):
        furnish(engine, room=room)
    a_night(engine, NIGHT - DAY, residue=1)
    assert doubts(engine, NIGHT, "r1") == {"r1": "canary_failed"}
    number = switch_off(engine, Scope(recipe=CANARY, **scope))
    elsewhere = ["r2-l2"] if "room" in scope else []
    assert [order.device for order in tick(engine, NIGHT + MINUTE)] == elsewhere
    assert doubts(engine, NIGHT + HOUR, "r1") == {}
    a_reset(engine, NIGHT + HOUR)
    found = stand(engine, NIGHT + 5 * DAY)
    assert (found.state, found.reason) == ("off", "not_clean")
    assert found.said is not None
    assert (found.said.made_by, found.said.since) == ("ida", NIGHT)
    heard(engine, NIGHT + 2 * HOUR)
    told = scrape(engine, NIGHT + 2 * HOUR)
    assert told.one("canary_state", room="r1", state="off") == 1
    assert told.one("canary_state", room="r1", state="failed") == 0
    assert told.one("canary_state", room="r2", state="off") == ("room" not in scope)
    with session(engine) as opened:
        overrides.end(opened, number, NIGHT + 2 * HOUR, "ida")
    assert stand(engine, NIGHT + 3 * HOUR).state == "failed"
    assert "r1-l2" in [order.device for order in tick(engine, NIGHT + 3 * HOUR)]


@on_sqlite
def test_a_person_may_test_all_the_same_and_one_laptop_can_be_spared(engine: Engine) -> None:
    furnish(engine)
    switch_off(engine, Scope(device="r1-l1", recipe=CANARY))
    assert stand(engine, NIGHT).state == "waiting"
    assert [order.device for order in tick(engine, NIGHT)] == ["r1-l2"]
    switch_off(engine, Scope(room="r1", recipe=CANARY))
    with session(engine) as opened:
        assert canary.ask(opened, "r1-l1", NIGHT + HOUR, SETTINGS, "IT").recipe_id == CANARY


@on_sqlite
def test_to_switch_off_another_recipe_is_something_else(engine: Engine) -> None:
    furnish(engine)
    switch_off(engine, Scope(room="r1", recipe="wipe"))
    assert stand(engine, NIGHT).state == "waiting"
    assert len(tick(engine, NIGHT)) == 1


@on_sqlite
def test_canaries_that_fail_never_stop_themselves(engine: Engine) -> None:
    for n in range(6):
        furnish(engine, room=f"r{n}")
    for night in (NIGHT - DAY, NIGHT):
        a_night(engine, night, residue=1)
    assert len(canaries(engine)) == 12
    with session(engine) as opened:
        resets.plan(opened, NIGHT + HOUR, SETTINGS)
        assert opened.exec(select(Override)).all() == []


def test_whoever_lets_resets_go_on_leaves_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    opened_engine = open_engine(f"sqlite:///{tmp_path}/fleet.db")
    migrate(opened_engine)
    furnish(opened_engine)
    switch_off(opened_engine, Scope(room="r1", recipe=CANARY))
    switch_off(opened_engine, Scope(recipe="wipe"))
    assert "1 taken back" in CliRunner().invoke(main, ["resume"]).output
    with reading(opened_engine) as opened:
        ended = {one.recipe_id: one.ended_by != "" for one in opened.exec(select(Override))}
    assert ended == {CANARY: False, "wipe": True}
    opened_engine.dispose()


@pytest.fixture
def with_recipe(house: House) -> Iterator[House]:
    with session(house.engine) as opened:
        if opened.get(Recipe, CANARY) is None:
            opened.add(Recipe.model_validate(BUILT_IN[CANARY].model_dump()))
    return house


def test_the_page_says_who_switched_it_off(with_recipe: House) -> None:
    house = with_recipe
    ida = house.browser("ida")
    page = ida.get("/selbsttest").text
    assert "/raum/ahlendorf-1/eingreifen/selbsttest" in page
    assert "eingreifen/selbsttest" not in ida.get("/raum/ahlendorf-1").text
    asked = ida.get("/raum/ahlendorf-1/eingreifen/selbsttest").text
    assert "keiner wird dafür nachts geweckt" in asked
    form = {"csrf": house.people["ida"].csrf, "bis": "", "grund": "Brandschutz"}
    done = ida.post("/raum/ahlendorf-1/eingreifen/selbsttest", data=form)
    assert done.status_code == 303
    page = ida.get("/selbsttest").text
    assert "abgeschaltet von ida seit" in page
    assert "Brandschutz" in page
    assert "Dort weiß niemand" in page
    assert "Selbsttest abgeschaltet" in ida.get("/raum/ahlendorf-1").text
    with reading(house.engine) as opened:
        said = opened.exec(select(Override)).one()
    assert (said.room_id, said.recipe_id, said.until) == ("ahlendorf-1", CANARY, None)
    assert "abschalten" not in house.browser("vera").get("/selbsttest").text.replace(
        "Wieder ein", ""
    )
    assert house.browser("karim").post(
        "/raum/ahlendorf-1/eingreifen/selbsttest", data=form | {"csrf": house.people["karim"].csrf}
    ).status_code == 403  # fmt: skip
    back = ida.post(f"/eingriff/{said.id}/aufheben", data={"csrf": house.people["ida"].csrf})
    assert back.status_code == 303
    assert "abgeschaltet von" not in ida.get("/selbsttest").text


def test_at_a_whole_site_by_page_and_api(with_recipe: House) -> None:
    house = with_recipe
    form = {"csrf": house.people["ida"].csrf, "bis": "week"}
    where = "/raum/ahlendorf-1/eingreifen/selbsttest-standort"
    assert house.browser("ida").post(where, data=form).status_code == 303
    house.app.include_router(api.router)
    header = {"authorization": f"Bearer {house.people['ida'].cookie}"}
    stop = {"kind": "stop", "room": "ahlendorf-1", "recipe": CANARY}
    assert house.browser().post("/api/v1/overrides", json=stop, headers=header).status_code == 201
    with reading(house.engine) as opened:
        first, second = opened.exec(select(Override).order_by(Override.id)).all()  # type: ignore[arg-type]
    assert (first.site_id, first.room_id, first.recipe_id) == ("ahlendorf", None, CANARY)
    assert first.until is not None
    assert (second.room_id, second.recipe_id) == ("ahlendorf-1", CANARY)
