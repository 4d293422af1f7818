"""The JSON API: who sees what, paging, changes, refusals, and Ansible's view."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import select

from fleet import api, auth, overrides
from fleet.api.queries import NOT_FOUND
from fleet.settings import Settings
from inventory import (
    Account,
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Feed,
    Health,
    Impact,
    Incident,
    OverrideKind,
    Prediction,
    Problem,
    Recipe,
    Report,
    ReportState,
    ResetRun,
    Role,
    Service,
)
from inventory.db import reading, session
from tests.rows import device, make_region

CLIENTS = SimpleNamespace
"""One client per visitor: admin, it (of Nordheim), caretaker, viewer, nobody."""


@pytest.fixture
def clients(engine: Engine, now: datetime) -> Iterator[Any]:
    make_region(engine, device("gone", "library", service=Service.RETIRED, port=2222))
    hour = timedelta(hours=1)
    with session(engine) as opened:
        opened.add(Feed(id="f", site_id="north", url="file:///x", good_at=now))
        for days in (-2, 1, 3, 20):
            start = now + timedelta(days=days)
            opened.add(Course(room_id="library", uid=str(days), start=start, end=start + hour))
        opened.add(Course(room_id="hall", uid="hall", start=now, end=now + hour))
        opened.add(
            DeviceState(
                device_id="laptop-1",
                taken_at=now,
                reachable=True,
                facts={"cpu_ratio": 0.5},
                facts_at=now,
                health=Health.OK,
            )
        )
        for number, name in enumerate(("laptop-1", "laptop-2")):
            opened.add(
                Report(
                    id=f"M-{number}",
                    device_id=name,
                    submission=f"s{number}",
                    problem=Problem.SOUND,
                    impact=Impact.BLOCKED,
                    text="No sound.",
                    contact="Ida, 0123",
                    reported_at=now,
                )
            )
    app = FastAPI()
    app.state.engine, app.state.settings, app.state.clock = engine, Settings(), lambda: now
    app.include_router(api.router)
    with TestClient(app) as nobody:
        found = {"nobody": nobody}
        for name, role, municipality in (
            ("admin", Role.REGION_ADMIN, None),
            ("it", Role.MUNICIPAL_IT, "Nordheim"),
            ("caretaker", Role.CARETAKER, "Nordheim"),
            ("viewer", Role.VIEWER, None),
        ):
            with session(engine) as opened:
                account = Account(name=name, role=role, municipality=municipality, created_at=now)
                opened.add(account)
                opened.flush()
                secret, _ = auth.open_session(opened, account, now)
            found[name] = TestClient(app, headers={"Authorization": f"Bearer {secret}"})
        yield CLIENTS(**found)


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_nobody_sees_nothing(clients: Any) -> None:
    for path in (
        "rooms",
        "devices",
        "courses",
        "resets",
        "reports",
        "ansible",
        "incidents",
        "devices/laptop-1",
    ):
        answer = clients.nobody.get(f"/api/v1/{path}")
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "north" not in answer.text
    assert clients.nobody.post("/api/v1/devices/laptop-1/reset").status_code == 401
    assert clients.nobody.patch("/api/v1/reports/M-0", json={"state": "done"}).status_code == 401


def test_other_municipalities_do_not_exist(clients: Any) -> None:
    assert ids(clients.admin.get("/api/v1/devices")) == [
        "ap-1", "gone", "laptop-1", "laptop-2", "projector-1",
    ]  # fmt: skip
    assert "laptop-2" not in ids(clients.it.get("/api/v1/devices"))
    assert ids(clients.it.get("/api/v1/devices?site=south")) == []
    assert ids(clients.it.get("/api/v1/rooms")) == ["library"]
    assert ids(clients.it.get("/api/v1/rooms?site=south")) == []
    assert ids(clients.it.get("/api/v1/reports")) == ["M-0"]
    courses = clients.it.get("/api/v1/courses").json()["items"]
    assert {course["room_id"] for course in courses} == {"library"}
    for path in ("devices/laptop-2", "rooms/hall", "reports/M-1"):
        for answer in (clients.it.get(f"/api/v1/{path}"), clients.it.get(f"/api/v1/{path}x")):
            assert answer.status_code == 404
            assert answer.json()["title"] == NOT_FOUND
    assert clients.it.post("/api/v1/devices/laptop-2/reset").status_code == 404
    assert clients.it.patch("/api/v1/reports/M-1", json={"state": "done"}).status_code == 404
    assert "laptop-2" not in clients.it.get("/api/v1/ansible").text


def test_filters_and_pages(clients: Any) -> None:
    get = clients.admin.get
    assert ids(get("/api/v1/devices?kind=laptop&room=library")) == ["gone", "laptop-1"]
    assert ids(get("/api/v1/devices?state=ok")) == ["laptop-1"]
    assert len(ids(get("/api/v1/devices?state=unknown"))) == 4
    page = get("/api/v1/devices?limit=2&offset=1").json()
    assert [item["id"] for item in page["items"]] == ["gone", "laptop-1"]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 1)
    assert ids(get("/api/v1/devices?offset=5")) == []
    assert get("/api/v1/courses").json()["total"] == 3
    since = "2026-11-20T00:00:00Z"
    assert get(f"/api/v1/courses?since={since}&room=library").json()["total"] == 3
    assert get("/api/v1/courses?until=2027-01-01T00:00:00Z&room=library").json()["total"] == 3
    assert ids(get("/api/v1/reports?state=done")) == []
    for wrong in ("limit=501", "limit=0", "offset=-1", "state=purple", "kind=toaster"):
        answer = get(f"/api/v1/devices?{wrong}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["query", wrong.split("=", maxsplit=1)[0]]
    assert get("/api/v1/courses?since=2026-11-20T00:00:00").status_code == 422


def test_what_is_told_of_a_device(clients: Any) -> None:
    told = clients.viewer.get("/api/v1/devices/laptop-1").json()
    assert told["site_id"] == "north"
    assert told["state"]["facts"] == {"cpu_ratio": 0.5}
    assert told["state"]["health"] == "ok"
    assert not {"code", "credential", "options"} & told.keys()
    assert clients.viewer.get("/api/v1/devices/ap-1").json()["state"] is None


def test_rooms_and_their_readiness(clients: Any, now: datetime) -> None:
    rooms = clients.admin.get("/api/v1/rooms").json()
    assert rooms["total"] == 2
    one = clients.admin.get("/api/v1/rooms/library").json()
    assert one in rooms["items"]
    assert one["verdict"] in {"ready", "degraded", "not_ready", "unknown"}
    assert datetime.fromisoformat(one["course"]["start"]) == now + timedelta(days=1)
    assert one["counts"]["projector"]["present"] == 1
    verdict = one["verdict"]
    assert "library" in ids(clients.admin.get(f"/api/v1/rooms?verdict={verdict}"))


def test_contact_is_for_those_who_work_on_reports(clients: Any) -> None:
    assert clients.caretaker.get("/api/v1/reports/M-0").json()["contact"] == "Ida, 0123"
    assert clients.viewer.get("/api/v1/reports/M-0").json()["contact"] == ""
    assert "Ida" not in clients.viewer.get("/api/v1/reports").text
    assert "token" not in clients.admin.get("/api/v1/reports/M-0").json()


def test_a_report_moves_on(clients: Any, engine: Engine, now: datetime) -> None:
    url = "/api/v1/reports/M-0"
    assert clients.viewer.patch(url, json={"state": "done"}).status_code == 403
    done = clients.caretaker.patch(url, json={"state": "done"})
    assert done.status_code == 200
    assert datetime.fromisoformat(done.json()["closed_at"]) == now
    with reading(engine) as opened:
        assert opened.get_one(Report, "M-0").state is ReportState.DONE
    assert clients.it.patch(url, json={"state": "in_progress"}).json()["closed_at"] is None
    wrongs: list[Any] = [{"state": "lost"}, {}, {"state": "done", "contact": "x"}, []]
    for wrong in wrongs:
        assert clients.admin.patch(url, json=wrong).status_code == 422


def test_a_reset_by_hand(clients: Any, engine: Engine) -> None:
    url = "/api/v1/devices/laptop-1/reset"
    assert clients.caretaker.post(url).status_code == 403
    asked = clients.it.post(url)
    assert asked.status_code == 202, asked.text
    run = asked.json()
    assert (run["device_id"], run["state"], run["requested_by"]) == ("laptop-1", "planned", "it")
    with reading(engine) as opened:
        assert opened.get_one(ResetRun, run["id"]).recipe_id == "laptop-reset"
    assert clients.it.get(f"/api/v1/resets/{run['id']}").json() == run
    assert ids(clients.it.get("/api/v1/resets?device=laptop-1&state=planned")) == [run["id"]]
    assert ids(clients.it.get("/api/v1/resets?state=failed")) == []
    again = clients.it.post(url)
    assert (again.status_code, again.json()["code"]) == (409, "already_open")
    back = f"/api/v1/resets/{run['id']}/recall"
    assert clients.caretaker.post(back).status_code == 403
    assert clients.it.post(f"{back}x").status_code == 404
    assert (clients.it.post(back).json()["state"], clients.it.post(back).status_code) == (
        "dropped",
        409,
    )
    # A room whose timetable nobody could read.
    doubt = clients.admin.post("/api/v1/devices/laptop-2/reset")
    assert doubt.status_code == 409
    assert doubt.headers["content-type"] == "application/problem+json"
    with session(engine) as opened:
        opened.get_one(Device, "laptop-2").recipe_id = "laptop-reset"
    url = "/api/v1/devices/laptop-2/reset"
    for body, status, code in (
        ({"force": True}, 409, "why_needed"),
        ({"tier": "full", "force": True, "why": "x"}, 409, "no_such_tier"),
        ({"tier": "gold"}, 422, "invalid"),
        ({"force": True, "why": "x" * 201}, 422, "invalid"),
    ):
        wrong = clients.admin.post(url, json=body)
        assert (wrong.status_code, wrong.json()["code"]) == (status, code), wrong.text
    insisted = {"force": True, "why": "Prüfung"}
    assert clients.caretaker.post(url, json=insisted).status_code in (403, 404)
    course = clients.admin.post(url, json=insisted)
    assert course.json()["code"] == "course_running", "nobody can insist against that"
    with session(engine) as opened:
        for held in opened.exec(select(Course).where(Course.room_id == "hall")):
            held.cancelled = True
    assert clients.admin.post(url).json()["code"] == "calendar_in_doubt"
    countdown = clients.admin.post(url, json={"countdown": True})
    assert (countdown.status_code, countdown.json()["code"]) == (409, "countdown_alone")
    forced = clients.admin.post(url, json=insisted)
    assert forced.status_code == 202, forced.text
    assert (forced.json()["forced"], forced.json()["why"]) == (True, "Prüfung")


def test_insisting_over_the_api(clients: Any, engine: Engine, now: datetime) -> None:
    url = "/api/v1/devices/laptop-1/reset"
    with session(engine) as opened:
        for held in opened.exec(select(Course)):
            held.cancelled = True
        opened.get_one(Recipe, "laptop-reset").steps = {"tier": "quick"}
        overrides.say(opened, OverrideKind.PAUSE, overrides.Scope(), now, "admin")
    insisted = {"force": True, "why": "Virus", "countdown": True}
    refused = clients.it.post(url, json=insisted)
    assert (refused.status_code, refused.json()["code"]) == (409, "paused_everywhere")
    assert clients.caretaker.post(url, json={"countdown": True}).status_code == 403
    done = clients.admin.post(url, json=insisted)
    assert done.status_code == 202, done.text
    assert (done.json()["over_all"], done.json()["countdown"]) == (True, True)


def test_a_cookie_alone_changes_nothing(clients: Any, engine: Engine, now: datetime) -> None:
    with session(engine) as opened:
        account = Account(name="browser", role=Role.REGION_ADMIN, created_at=now)
        opened.add(account)
        opened.flush()
        secret, _ = auth.open_session(opened, account, now)
    cookie = {"cookie": f"{auth.COOKIE}={secret}"}
    assert clients.nobody.get("/api/v1/devices", headers=cookie).status_code == 200
    forged = clients.nobody.post("/api/v1/devices/laptop-1/reset", headers=cookie)
    assert forged.status_code == 403
    with reading(engine) as opened:
        assert opened.exec(select(ResetRun)).all() == []


def test_ansible(clients: Any) -> None:
    told = clients.admin.get("/api/v1/ansible").json()
    assert told["_meta"]["hostvars"]["laptop-1"] == {
        "ansible_host": "127.0.0.1",
        "raumwart_site": "north",
        "raumwart_room": "library",
        "raumwart_name": "Laptop-1",
        "raumwart_spare": False,
    }
    assert told["kind_laptop"] == {"hosts": ["laptop-1", "laptop-2"]}
    assert told["room_hall"] == told["site_south"] == {"hosts": ["laptop-2"]}
    assert "gone" not in told["_meta"]["hostvars"]
    assert "projector-1" not in told["_meta"]["hostvars"]
    assert "kind_laptop" in told["all"]["children"]


def test_groups_are_names_that_ansible_takes(engine: Engine) -> None:
    make_region(engine)
    with session(engine) as opened:
        opened.add(device("l-3", "library", DeviceKind.LAPTOP))
    from fleet.api.ansible import ansible_inventory

    with reading(engine) as opened:
        told = ansible_inventory(opened, {"north", "south"})
    assert all(name.replace("_", "").isalnum() for name in told)


def test_it_describes_itself(clients: Any) -> None:
    described = clients.admin.app.openapi()
    paths = {path for path in described["paths"] if path.startswith("/api/v1/")}
    assert {f"/api/v1/{name}" for name in ("rooms", "devices", "courses", "resets", "reports")} <= (
        paths
    )
    limit = next(
        p
        for p in described["paths"]["/api/v1/devices"]["get"]["parameters"]
        if p["name"] == "limit"
    )
    assert limit["schema"]["maximum"] == 500


def test_incidents_and_predictions(clients: Any, engine: Engine, now: datetime) -> None:
    with session(engine) as opened:
        for number, (site, name, ended) in enumerate(
            (("north", "ap-1", None), ("south", "laptop-2", None), ("north", "laptop-1", 30))
        ):
            begun = now - timedelta(days=40 - number)
            closed = now - timedelta(days=ended) if ended else None
            opened.add(
                Incident(
                    site_id=site, device_id=name, cause=name, reason="unreachable", since=begun,
                    opened_at=begun, closed_at=closed, affected=2,
                )
            )  # fmt: skip
        for name in ("ap-1", "laptop-2"):
            opened.add(Prediction(device_id=name, code="disk_full_soon", due_at=now, made_at=now))
    found = clients.it.get("/api/v1/incidents").json()["items"]
    assert [(one["device_id"], one["affected"]) for one in found] == [("ap-1", 2)]
    long_ago = (now - timedelta(days=35)).isoformat().replace("+", "%2B")
    found = clients.it.get(f"/api/v1/incidents?since={long_ago}").json()["items"]
    assert [one["device_id"] for one in found] == ["laptop-1", "ap-1"]
    found = clients.it.get("/api/v1/predictions").json()["items"]
    assert [one["device_id"] for one in found] == ["ap-1"]
    assert clients.admin.get("/api/v1/predictions").json()["total"] == 2
    assert clients.admin.get("/api/v1/incidents?site=south").json()["total"] == 1
