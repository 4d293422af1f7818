"""Shows the region's rooms, the most urgent first, and one room in full."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import exists
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from dashboards import feeds, overrides, words
from dashboards.finding import Freshness, find_room, freshness, in_order, municipalities
from dashboards.resets import Resets
from dashboards.view import page
from fleet import readiness
from fleet.auth import Action, Visitor, signed_in
from inventory import (
    Alarm,
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Level,
    Report,
    ReportState,
    ResetRun,
    Room,
    RunState,
    Verdict,
)
from inventory.db import reading

router = APIRouter(default_response_class=HTMLResponse)

VERDICT_CHOICES = [
    ("", words.N_("alle")),
    *((verdict.value, text) for verdict, text in words.VERDICT.items()),
]
MOST = 60
"""Rooms on one page: the list begins with the most urgent, and is read again every few seconds."""
KIND_ORDER = list(DeviceKind)


@router.get("/")
def overview(
    request: Request,
    visitor: Visitor = Depends(signed_in),
    q: str = "",
    gemeinde: str = "",
    status: str = "",
    alle: bool = False,
    hinweis: str = "",
) -> HTMLResponse:
    now = request.app.state.clock()
    with reading(request.app.state.engine) as session:
        rooms = readiness.overview(session, now, request.app.state.settings, visitor.sites)
        fresh = freshness(session, visitor.sites)
        choices = municipalities(session, visitor)
        alarmed = _begun_not_ready(session, now, visitor)
    found = [one for one in rooms if _matches(one, q.strip().casefold(), gemeinde, status)]
    shown = found if alle else found[:MOST]
    return page(
        request,
        "rooms.html",
        visitor=visitor,
        hint=hinweis,
        total=len(rooms),
        alarmed=alarmed,
        needing=sum(_needs_somebody(one) for one in rooms),
        ready=sum(one.verdict == Verdict.READY for one in rooms),
        found=len(found),
        shown=shown,
        urgent=[one for one in shown if _needs_somebody(one)],
        unseen=[one for one in shown if _began_unseen(one)],
        quiet=[one for one in shown if one.verdict == Verdict.READY],
        filtered=bool(q.strip() or gemeinde or status),
        fresh={one.room.id: fresh.get(one.room.id, Freshness()) for one in shown},
        municipalities=choices,
        verdicts=VERDICT_CHOICES,
        chosen={"q": q, "gemeinde": gemeinde, "status": status},
    )


def _begun_not_ready(
    session: Session, now: datetime, visitor: Visitor
) -> Sequence[tuple[Course, Room]]:
    """Running courses that began in a room that was not ready, and still is not."""
    recovered = aliased(Alarm)
    return session.exec(
        select(Course, Room)
        .join(Room, col(Room.id) == col(Course.room_id))
        .join(Alarm, col(Alarm.course_id) == col(Course.id))
        .where(Alarm.level == Level.START, Alarm.course_start == Course.start)
        .where(Course.end > now, col(Course.cancelled).is_(False))
        .where(col(Room.site_id).in_(visitor.sites))
        .where(
            ~exists().where(
                col(recovered.course_id) == col(Course.id),
                col(recovered.course_start) == col(Course.start),
                col(recovered.level) == Level.RECOVERED,
            )
        )
        .order_by(col(Course.start), col(Room.name))
    ).all()


def _began_unseen(one: readiness.RoomStatus) -> bool:
    """Whether nothing else is wrong than that nobody can know how it was at the start."""
    return [reason.code for reason in one.reasons] in (["service_was_down"], ["learned_late"])


def _needs_somebody(one: readiness.RoomStatus) -> bool:
    return one.verdict != Verdict.READY and not _began_unseen(one)


def _matches(one: readiness.RoomStatus, text: str, municipality: str, verdict: str) -> bool:
    if municipality and one.site.municipality != municipality:
        return False
    if verdict and one.verdict.value != verdict:
        return False
    title = one.course.title if one.course else ""
    places = (one.room.name, one.site.name, one.site.municipality, title)
    return not text or any(text in place.casefold() for place in places)


@router.get("/raum/{room_id}")
def room(
    request: Request, room_id: str, visitor: Visitor = Depends(signed_in), hinweis: str = ""
) -> HTMLResponse:
    now = request.app.state.clock()
    with reading(request.app.state.engine) as session:
        found, site = find_room(session, room_id, visitor)
        status = readiness.room_status(session, room_id, now, request.app.state.settings)
        devices = session.exec(
            select(Device, DeviceState)
            .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
            .where(Device.room_id == room_id)
        ).all()
        courses = session.exec(
            select(Course)
            .where(Course.room_id == room_id, Course.end > now)
            .order_by(col(Course.start))
            .limit(6)
        ).all()
        reports = session.exec(
            select(Report, Device)
            .join(Device, col(Device.id) == col(Report.device_id))
            .where(Device.room_id == room_id, Report.state != ReportState.DONE)
            .order_by(col(Report.reported_at).desc())
        ).all()
        runs = _runs_for(session, status.course)
        fresh = freshness(session, [site.id]).get(found.id, Freshness())
        troubled = feeds.troubled(session, found) if visitor.can(Action.EDIT) else []
        own_feeds = feeds.of_room(session, found) if visitor.can(Action.EDIT) else []
        said = overrides.in_room(session, found, now)
    return page(
        request,
        "room.html",
        said=said,
        may_end=overrides.may_end(visitor, said),
        deeds=overrides.offered(visitor),
        visitor=visitor,
        hint=hinweis,
        status=status,
        fresh=fresh,
        troubled=troubled,
        feeds=own_feeds,
        groups=by_kind(devices),
        reported={device.id for _, device in reports},
        courses=courses,
        reports=reports,
        resets=Resets(in_order(runs)),
        run_of={device.id: run for run, device in runs if run.state != RunState.DROPPED},
    )


def by_kind(
    devices: Sequence[tuple[Device, DeviceState | None]],
) -> list[tuple[DeviceKind, list[tuple[Device, DeviceState | None]]]]:
    """Devices of one kind together, the kinds in their usual order."""
    named = in_order((state, device) for device, state in devices)
    ordered = sorted(named, key=lambda pair: KIND_ORDER.index(pair[1].kind))
    return [
        (kind, [(device, state) for state, device in rows])
        for kind, rows in groupby(ordered, key=lambda pair: pair[1].kind)
    ]


def _runs_for(session: Session, course: Course | None) -> Sequence[tuple[ResetRun, Device]]:
    if course is None:
        return []
    return session.exec(
        select(ResetRun, Device)
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(ResetRun.course_id == course.id, ResetRun.course_start == course.start)
    ).all()
