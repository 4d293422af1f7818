"""A morning in a small region, for the pages: rooms that are ready and rooms that are not, resets
in every state, reports, and the four people who look at it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import Session

import dashboards
from fleet import auth
from fleet.app import ask_to_sign_in
from fleet.settings import Settings
from inventory import (
    Account,
    AgentContact,
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Feed,
    Flip,
    Health,
    Impact,
    Incident,
    Prediction,
    Problem,
    Report,
    ReportState,
    ResetRun,
    Role,
    Room,
    RunState,
    Site,
    Subject,
)
from inventory.db import session
from inventory.recipes import DEFAULT_RECIPE, ensure_recipes

TOWNS = (
    ("ahlendorf", "Ahlendorf", "Bürgerhaus", "Lernraum"),
    ("birkental", "Birkental", "Alte Schule", "Werkraum"),
    ("cellberg", "Cellberg", "Gemeindebücherei", "Lesesaal"),
)
DEVICES = (
    (DeviceKind.LAPTOP, "Laptop", "ssh", 6),
    (DeviceKind.TABLET, "Tablet", "kiosk", 3),
    (DeviceKind.PROJECTOR, "Beamer", "pjlink", 1),
    (DeviceKind.ACCESS_POINT, "WLAN", "snmp", 1),
)
FACTS = {
    DeviceKind.LAPTOP: {
        "model": "ThinkBook 14",
        "firmware": "Debian 13",
        "uptime_s": 5400,
        "cpu_ratio": 0.07,
        "memory_ratio": 0.31,
        "disk_ratio": 0.42,
        "disk_free_bytes": 148_000_000_000,
        "battery_ratio": 0.86,
        "plugged": True,
        "temperature_c": 41,
        "sessions": 0,
        "updates": 3,
        "security_updates": 0,
        "reboot_needed": False,
        "home_clean": True,
        "used_since": False,
    },
    DeviceKind.TABLET: {"battery_ratio": 0.93, "plugged": True, "kiosk_locked": True},
    DeviceKind.PROJECTOR: {"power": "on", "input": "31", "lamp_s": 3_600_000, "lamp_state": "ok"},
    DeviceKind.ACCESS_POINT: {"clients": 4, "utilisation_ratio": 0.12, "noise_dbm": -95},
}
HOSTILE = "<script>alert(1)</script> & Co."
"""What a page must show as text."""


@dataclass(frozen=True)
class Person:
    """Somebody who signed in, with what the browser holds."""

    name: str
    cookie: str
    csrf: str

    @property
    def cookies(self) -> dict[str, str]:
        return {auth.COOKIE: self.cookie}


def people(opened: Session, now: datetime) -> dict[str, Person]:
    """Anna runs the region, Ida is Ahlendorf's IT, Karim its caretaker, Otto is from Birkental."""
    found = {}
    for name, role, town in (
        ("anna", Role.REGION_ADMIN, None),
        ("ida", Role.MUNICIPAL_IT, "Ahlendorf"),
        ("karim", Role.CARETAKER, "Ahlendorf"),
        ("vera", Role.VIEWER, "Ahlendorf"),
        ("otto", Role.MUNICIPAL_IT, "Birkental"),
    ):
        account = Account(name=name, role=role, municipality=town, created_at=now)
        opened.add(account)
        opened.flush()
        secret, row = auth.open_session(opened, account, now)
        found[name] = Person(name, secret, row.csrf)
    return found


def make_site(opened: Session, number: int, now: datetime, rooms: int = 1) -> None:
    """A site with rooms; each has the same devices, all well, and a timetable just read."""
    town, municipality, house, room_name = TOWNS[number % len(TOWNS)]
    site = town if number < len(TOWNS) else f"{town}-{number}"
    opened.add(Site(id=site, name=house, municipality=municipality, phone="0123 456 78"))
    opened.flush()
    opened.add(AgentContact(site_id=site, at=now - timedelta(seconds=20)))
    for index in range(rooms):
        room = f"{site}-{index + 1}"
        opened.add(Room(id=room, site_id=site, name=f"{room_name} {index + 1}"))
        opened.flush()
        opened.add(
            Feed(
                id=room,
                site_id=site,
                room_id=room,
                url="https://kurse.example/ics",
                good_at=now - timedelta(minutes=4),
            )
        )
        for kind, name, driver, count in DEVICES:
            for one in range(1, count + 1):
                make_device(opened, room, kind, f"{name} {one}", driver, now)
    opened.flush()


def make_device(
    opened: Session, room: str, kind: DeviceKind, name: str, driver: str, now: datetime
) -> None:
    """A device that answered a moment ago and was well for a day."""
    device = f"{room}-{name.lower().replace(' ', '-')}"
    code = "".join(letter for letter in device if letter.isalnum())
    opened.add(
        Device(
            id=device,
            room_id=room,
            name=name,
            kind=kind,
            driver=driver,
            address="127.0.0.1",
            recipe_id=DEFAULT_RECIPE[kind],
            code=code,
        )
    )
    opened.flush()
    opened.add(
        DeviceState(
            device_id=device,
            taken_at=now - timedelta(seconds=20),
            reachable=True,
            latency_ms=3.0,
            facts=FACTS[kind],
            facts_at=now - timedelta(seconds=20),
            health=Health.OK,
            health_since=now - timedelta(days=1),
        )
    )


def make_course(
    opened: Session, room: str, title: str, start: datetime, minutes: int = 90, **more: object
) -> Course:
    course = Course(
        room_id=room,
        feed_id=room,
        uid=f"{title}-{start.isoformat()}",
        title=title,
        start=start,
        end=start + timedelta(minutes=minutes),
        **more,
    )
    opened.add(course)
    opened.flush()
    return course


def make_run(
    opened: Session, course: Course, device: str, state: RunState, reason: str = "", **more: object
) -> None:
    """A reset for this course that began a quarter of an hour before it (or will)."""
    assert course.id is not None
    begun = course.start - timedelta(minutes=40)
    late = state not in {RunState.PLANNED, RunState.ORDERED, RunState.ACTED}
    row = opened.get_one(Device, device)
    assert row.recipe_id is not None
    opened.add(
        ResetRun(
            id=f"{course.id}-{device}"[-32:],
            device_id=device,
            course_id=course.id,
            course_start=course.start,
            recipe_id=row.recipe_id,
            state=state,
            reason=reason,
            planned_at=begun - timedelta(minutes=20),
            not_before=begun,
            not_after=course.start - timedelta(minutes=8),
            deadline=course.start,
            next_try_at=begun,
            ordered_at=None if state == RunState.PLANNED else begun,
            finished_at=begun + timedelta(minutes=1) if late else None,
            **more,
        )
    )


def make_region(engine: Engine, now: datetime) -> dict[str, Person]:
    """Ahlendorf's course begins in 23 minutes and its projector is broken; Birkental's is running;
    Cellberg's begins in the afternoon."""
    with session(engine) as opened:
        ensure_recipes(opened)
        for number in range(len(TOWNS)):
            make_site(opened, number, now)
        _ahlendorf(opened, now)
        course = make_course(opened, "birkental-1", HOSTILE, now - timedelta(minutes=30))
        make_run(opened, course, "birkental-1-laptop-1", RunState.VERIFIED)
        make_run(opened, course, "birkental-1-laptop-2", RunState.UNKNOWN, "no_end")
        make_course(opened, "cellberg-1", "Fotos ordnen", now + timedelta(hours=5))
        make_course(opened, "cellberg-1", "Malkurs", now + timedelta(hours=8), cancelled=True)
        opened.add(
            Report(
                id="M-OTTO1",
                device_id="birkental-1-laptop-2",
                submission="birkental-submission",
                token="birkental-token",
                problem=Problem.SOUND,
                impact=Impact.NONE,
                text=HOSTILE,
                reported_at=now - timedelta(days=1),
            )
        )
        return people(opened, now)


def _ahlendorf(opened: Session, now: datetime) -> None:
    room = "ahlendorf-1"
    course = make_course(opened, room, "Smartphone für Einsteiger", now + timedelta(minutes=23))
    make_course(opened, room, "Deutsch digital", now + timedelta(days=1, hours=2))
    proof = {"reset_id": "abc.1", "home_clean": True, "residue": 0}
    for number in range(1, 5):
        device = f"{room}-laptop-{number}"
        acted = course.start - timedelta(minutes=39)
        make_run(
            opened, course, device, RunState.VERIFIED,
            evidence=proof, acted_at=acted, looked_at=acted, attempts=1,
        )  # fmt: skip
        state = opened.get_one(DeviceState, device)
        state.clean_run_id, state.clean_at = f"{course.id}-{device}"[-32:], acted
    make_run(opened, course, f"{room}-laptop-5", RunState.FAILED, "reset_failed", attempts=3)
    make_run(opened, course, f"{room}-laptop-6", RunState.ORDERED)
    for number in range(1, 4):
        make_run(opened, course, f"{room}-tablet-{number}", RunState.PLANNED)
    make_run(opened, course, f"{room}-beamer-1", RunState.EXPIRED, "expired")
    beamer = opened.get_one(DeviceState, f"{room}-beamer-1")
    beamer.health, beamer.reason = Health.FAILED, "lamp_fault"
    beamer.health_since = now - timedelta(hours=2)
    beamer.facts = {**beamer.facts, "lamp_state": "error"}
    for hours, old, new, reason in (
        (30, Health.OK, Health.OFF, "off"),
        (20, Health.OFF, Health.UNKNOWN, "no_news"),
        (18, Health.UNKNOWN, Health.OK, ""),
        (6, Health.OK, Health.WARNING, "lamp_worn"),
        (2, Health.WARNING, Health.FAILED, "lamp_fault"),
    ):
        opened.add(
            Flip(
                subject=Subject.DEVICE,
                room_id=room,
                device_id=f"{room}-beamer-1",
                at=now - timedelta(hours=hours),
                old=old,
                new=new,
                reason=reason,
            )
        )
    opened.get_one(DeviceState, f"{room}-laptop-5").reason = "battery_low"
    opened.get_one(DeviceState, f"{room}-laptop-5").health = Health.WARNING
    opened.add(
        Incident(
            site_id="ahlendorf", device_id=f"{room}-beamer-1", cause=f"{room}-beamer-1",
            reason="lamp_fault", since=now - timedelta(hours=2),
            opened_at=now - timedelta(hours=2),
        )
    )  # fmt: skip
    opened.add(
        Incident(
            site_id="ahlendorf", cause="site", reason="site", affected=9,
            since=now - timedelta(days=2), opened_at=now - timedelta(days=2),
            closed_at=now - timedelta(days=2) + timedelta(minutes=25),
        )
    )  # fmt: skip
    opened.add(
        Prediction(
            device_id=f"{room}-laptop-2", code="disk_full_soon", due_at=now + timedelta(days=12),
            made_at=now,
        )
    )  # fmt: skip
    opened.add(
        Report(
            id="M-AHL01",
            device_id=f"{room}-beamer-1",
            submission="ahlendorf-submission",
            token="ahlendorf-token",
            problem=Problem.PICTURE,
            impact=Impact.BLOCKED,
            text="Das Bild flackert und wird dunkel.",
            contact="Hausmeisterei 0123 99",
            seconded=2,
            state=ReportState.RECEIVED,
            reported_at=now - timedelta(hours=2),
        )
    )


class Clock:
    """Stands still until it is moved on."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **more: float) -> None:
        self.now += timedelta(**more)


def make_app(engine: Engine, clock: Clock, home: Path, url: str = "") -> FastAPI:
    """The pages alone, without clockwork and agents."""
    app = FastAPI()
    app.state.engine = engine
    app.state.settings = Settings(home=home, url=url)
    app.state.clock = clock
    app.state.key = auth.load_key(home)
    dashboards.mount(app)
    app.add_exception_handler(auth.NotSignedIn, ask_to_sign_in)
    return app


@dataclass
class House:
    """The pages over a seeded database."""

    app: FastAPI
    engine: Engine
    clock: Clock
    people: dict[str, Person]

    def browser(self, name: str = "", language: str = "de") -> TestClient:
        """A browser of this person, or of nobody."""
        cookies = self.people[name].cookies if name else None
        return TestClient(
            self.app,
            cookies=cookies,
            headers={"accept-language": language},
            follow_redirects=False,
            raise_server_exceptions=False,
        )


def open_house(engine: Engine, now: datetime, home: Path) -> House:
    clock = Clock(now)
    return House(make_app(engine, clock, home), engine, clock, make_region(engine, now))
