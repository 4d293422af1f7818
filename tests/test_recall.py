"""A reset that was ordered and taken back: what the centre makes of it; by page, API and shell."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from agents.messages import Step
from fleet import resets, roster
from fleet.cli import main
from fleet.settings import Settings
from inventory import ResetRun, RunState
from inventory.db import reading, session
from tests.room import MINUTE, add_course, claim, furnish, outcome, plan, runs, say
from tests.sample import House

pytest_plugins = ("tests.house",)

S = Settings(reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)


# --- in the centre ---


def ask(engine: Engine, moment: datetime, **more: Any) -> str:
    with session(engine) as opened:
        return resets.request(opened, "r1-l1", moment, S, "IT", **more).id


def recall(engine: Engine, run: str, moment: datetime, **more: Any) -> RunState:
    with session(engine) as opened:
        return resets.recall(opened, run, moment, **more).state


def recalled(engine: Engine, moment: datetime) -> list[str]:
    with reading(engine) as opened:
        return roster.build(opened, "vhs", moment, S).recalled


def test_one_that_waits_is_dropped_at_once(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    run = ask(engine, now)
    assert recall(engine, run, now) is RunState.DROPPED
    assert claim(engine, now, S) == []
    assert recalled(engine, now) == []
    assert [(one.state, one.reason) for one in runs(engine)] == [(RunState.DROPPED, "recalled")]
    with pytest.raises(resets.ResetRefused, match="too late"):
        recall(engine, run, now)
    assert ask(engine, now), "it may be asked for again"


@pytest.mark.parametrize(
    ("step", "reason"),
    [(Step.REFUSED, "aborted"), (Step.REFUSED, "recalled"), (Step.FAILED, "unreachable")],
)
def test_one_on_its_way_is_dropped_when_nothing_was_touched(
    engine: Engine, now: datetime, step: Step, reason: str
) -> None:
    furnish(engine, now, laptops=1)
    run = ask(engine, now)
    (order,) = claim(engine, now, S)
    assert recalled(engine, now) == []
    assert recall(engine, run, now) is RunState.ORDERED
    assert recall(engine, run, now + MINUTE) is RunState.ORDERED, "safe to repeat"
    assert recalled(engine, now) == [order.id]
    say(engine, outcome(order, step, now, reason=reason), now)
    (row,) = runs(engine)
    assert (row.state, row.reason, row.recalled_at) == (RunState.DROPPED, "recalled", now)
    assert recalled(engine, now) == []


def test_too_late_is_what_it_is(engine: Engine, now: datetime) -> None:
    """Done is done, failed is failed; but it is not begun once more."""
    furnish(engine, now, laptops=3)
    with session(engine) as opened:
        asked = resets.request_room(opened, "r1", now, S, "IT").runs
        ids = {run.device_id: run.id for run in asked}
    orders = {order.device: order for order in claim(engine, now, S)}
    for run in ids.values():
        assert recall(engine, run, now) is RunState.ORDERED
    clean = {"home_clean": True, "residue": 0, "reset_id": orders["r1-l1"].id}
    ended = {"started_at": now, "finished_at": now}
    say(engine, outcome(orders["r1-l1"], Step.ACTED, now, **ended), now)
    with pytest.raises(resets.ResetRefused):
        recall(engine, ids["r1-l1"], now)
    say(engine, outcome(orders["r1-l1"], Step.LOOKED, now, facts=clean, **ended), now)
    say(engine, outcome(orders["r1-l2"], Step.FAILED, now, reason="reset_failed"), now)
    with session(engine) as opened:
        resets.expire(opened, now + 60 * MINUTE)
    states = {run.device_id: (run.state, run.reason) for run in runs(engine)}
    assert states == {
        "r1-l1": (RunState.VERIFIED, ""),
        "r1-l2": (RunState.FAILED, "reset_failed"),
        "r1-l3": (RunState.UNKNOWN, "no_answer"),
    }
    assert claim(engine, now + MINUTE, S) == []


def test_an_order_that_never_left_is_not_sent_after_its_recall(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    run = ask(engine, now)
    orders = claim(engine, now, S)
    recall(engine, run, now)
    with session(engine) as opened:
        resets.give_back(opened, orders, now)
    assert claim(engine, now + MINUTE, S) == []
    with session(engine) as opened:
        resets.expire(opened, now + MINUTE)
    (row,) = runs(engine)
    assert (row.state, row.reason) == (RunState.DROPPED, "recalled")


def test_what_the_plan_made_and_what_is_another_devices_is_not_taken_back(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=2)
    add_course(engine, now + 30 * MINUTE)
    run = ask(engine, now)
    plan(engine, now, S)
    planned = [one.id for one in runs(engine) if one.course_id is not None]
    assert planned
    for other in (*planned, "nothing"):
        with pytest.raises(resets.ResetRefused):
            recall(engine, other, now)
    with pytest.raises(resets.ResetRefused):
        recall(engine, run, now, device_id="r1-l2")
    assert recall(engine, run, now, device_id="r1-l1") is RunState.DROPPED


# --- by page, API and shell ---

DEVICE = "cellberg-1-laptop-1"
BUTTON = "Zurücksetzung zurücknehmen"


def order(house: House) -> ResetRun:
    with session(house.engine) as opened:
        return resets.request(opened, DEVICE, house.clock.now, S, "anna")


def state_of(house: House, run: str) -> RunState:
    with reading(house.engine) as opened:
        return opened.get_one(ResetRun, run).state


def test_a_button_takes_it_back(house: House) -> None:
    run = order(house)
    browser, csrf = house.browser("anna"), house.people["anna"].csrf
    assert BUTTON in browser.get(f"/geraet/{DEVICE}").text
    form = {"csrf": csrf, "run": run.id}
    other = browser.post("/geraet/cellberg-1-laptop-2/zuruecknehmen", data=form)
    assert other.status_code == 409
    assert "lässt sich nicht mehr zurücknehmen" in other.text
    done = browser.post(f"/geraet/{DEVICE}/zuruecknehmen", data=form)
    assert done.headers["location"].startswith(f"/geraet/{DEVICE}?hinweis=reset_recalled")
    page = browser.get(done.headers["location"]).text
    assert "Von Hand zurückgenommen" in page
    assert BUTTON not in page
    assert state_of(house, run.id) is RunState.DROPPED


def test_the_page_says_what_becomes_of_it(house: House) -> None:
    run, browser = order(house), house.browser("anna")
    with session(house.engine) as opened:
        (sent,) = (one for one in resets.claim(opened, house.clock.now, S) if one.device == DEVICE)
        resets.recall(opened, run.id, house.clock.now)
    page = browser.get(f"/geraet/{DEVICE}").text
    assert "Wird zurückgenommen, wenn noch nichts gelöscht ist." in page
    assert BUTTON not in page
    with session(house.engine) as opened:
        resets.apply_outcome(opened, outcome(sent, Step.ACTED, house.clock.now), house.clock.now)
    assert "Zum Zurücknehmen war es zu spät." in browser.get(f"/geraet/{DEVICE}").text


def test_only_who_may_reset_may_take_back(house: House) -> None:
    run = order(house)
    for name, status in (("vera", 403), ("ida", 404)):
        browser = house.browser(name)
        form = {"csrf": house.people[name].csrf, "run": run.id}
        assert browser.post(f"/geraet/{DEVICE}/zuruecknehmen", data=form).status_code == status
    assert state_of(house, run.id) is RunState.PLANNED


def test_the_shell_takes_it_back_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_DB", str(house.engine.url))
    run = order(house)
    done = CliRunner().invoke(main, ["recall", run.id])
    assert (done.exit_code, "was taken back" in done.output) == (0, True)
    again = CliRunner().invoke(main, ["recall", run.id])
    assert again.exit_code == 1
    assert "It is too late to take this reset back." in " ".join(again.stderr.split())
