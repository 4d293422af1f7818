"""Shows what the search of the sites' networks found, and takes the decision about each find."""

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import Session, col, select

from agents.drivers import DRIVERS
from dashboards import words
from dashboards.view import page, refusal
from dashboards.words import N_
from fleet import discovery
from fleet.auth import Action, Visitor, posted, signed_in
from fleet.discovery.accepting import TAKEN_OVER
from fleet.discovery.searches import latest
from inventory import Device, Network, Proposal, ProposalState, Room, Site, Sort
from inventory.db import reading, session

router = APIRouter(default_response_class=HTMLResponse)

MOST = 200
SORT = {
    Sort.NEW: N_("Neu"),
    Sort.MOVED: N_("Vielleicht umgezogen"),
    Sort.DOUBLE: N_("Doppelt"),
    Sort.RETIRED: N_("Ausgemustert und wieder da"),
    Sort.ELSEWHERE: N_("Gehört woandershin"),
}
EXPLAINED = {
    Sort.NEW: N_("Dieses Gerät steht noch nicht im Verzeichnis."),
    Sort.MOVED: N_("Das könnte dieses Gerät sein. Bewiesen ist es nicht."),
    Sort.DOUBLE: N_("Hat dieselbe Seriennummer oder MAC-Adresse wie ein Gerät, das antwortet."),
    Sort.RETIRED: N_("Dieses Gerät war ausgemustert."),
    Sort.ELSEWHERE: N_("Dieses Gerät steht bei einem anderen Standort im Verzeichnis."),
}
PROBLEM = {
    "expired": N_("Der Standort hat die Suche nicht rechtzeitig begonnen."),
    "no_end": N_("Von der letzten Suche kam kein Ende an."),
    "bad_range": N_("Ein Netz des Standorts darf nicht durchsucht werden."),
    "missing_credential": N_("Am Standort fehlen die Zugangsdaten für SNMP."),
    "failed": N_("Die letzte Suche ist abgebrochen."),
}
KINDS = [(kind.value, text) for kind, text in words.KIND.items()]
DRIVER_CHOICES = [(name, name) for name in sorted(DRIVERS)]


@router.get("/gefunden")
def finds(
    request: Request, visitor: Visitor = Depends(signed_in), hinweis: str = ""
) -> HTMLResponse:
    return _page(request, visitor, hint=hinweis)


def _page(
    request: Request,
    visitor: Visitor,
    *,
    hint: str = "",
    refused: str = "",
    status: int = 200,
    chosen: dict[str, str] | None = None,
) -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        rows = opened.exec(
            select(Proposal, Site, Device, Room)
            .join(Site, col(Site.id) == col(Proposal.site_id))
            .outerjoin(Device, col(Device.id) == col(Proposal.device_id))
            .outerjoin(Room, col(Room.id) == col(Device.room_id))
            .where(
                col(Proposal.site_id).in_(visitor.sites),
                Proposal.state == ProposalState.OPEN,
            )
            .order_by(col(Site.name), col(Proposal.id))
            .limit(MOST + 1)
        ).all()
        followed = opened.exec(
            select(Proposal, Device)
            .join(Device, col(Device.id) == col(Proposal.device_id))
            .where(
                col(Proposal.site_id).in_(visitor.sites),
                Proposal.state == ProposalState.FOLLOWED,
            )
            .order_by(col(Proposal.decided_at).desc())
            .limit(20)
        ).all()
        places = _places(opened, visitor)
        rooms: dict[str, list[tuple[str, str]]] = {}
        for room in opened.exec(
            select(Room).where(col(Room.site_id).in_(visitor.sites)).order_by(col(Room.name))
        ):
            rooms.setdefault(room.site_id, []).append((room.id, room.name))
    return page(
        request,
        "discovery.html",
        visitor=visitor,
        http_status=status,
        here="/gefunden" if request.method == "POST" else "",
        hint=hint,
        refused=refused,
        rows=[
            # What stands at another municipality's site does not exist for this visitor.
            (one, site, device if room and room.site_id in visitor.sites else None)
            for one, site, device, room in rows[:MOST]
        ],
        more=len(rows) > MOST,
        followed=followed,
        places=places,
        rooms=rooms,
        may_edit=visitor.can(Action.EDIT),
        taken_over=TAKEN_OVER,
        sorts=SORT,
        explained=EXPLAINED,
        problems=PROBLEM,
        kinds=KINDS,
        drivers=DRIVER_CHOICES,
        chosen=chosen or {},
    )


def _places(opened: Session, visitor: Visitor) -> list[tuple[Site, object]]:
    """The visitor's sites that have networks, each with its last search."""
    sites = opened.exec(
        select(Site)
        .where(
            col(Site.id).in_(visitor.sites),
            col(Site.id).in_(select(Network.site_id)),
        )
        .order_by(col(Site.name), col(Site.id))
    ).all()
    return [(site, latest(opened, site.id)) for site in sites]


@router.post("/gefunden/suchen")
def search(
    request: Request, site: str = Form(), visitor: Visitor = Depends(posted)
) -> RedirectResponse:
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    if site not in visitor.sites:
        raise HTTPException(404)
    state = request.app.state
    with session(state.engine) as opened:
        discovery.ask(opened, site, state.clock(), visitor.account.name)
    return RedirectResponse("/gefunden?hinweis=search_asked", 303)


@router.post("/gefunden/{number}", response_model=None)
def decide(
    request: Request,
    number: int,
    do: str = Form(),
    id_: str = Form("", alias="id"),
    name: str = Form(""),
    room: str = Form(""),
    kind: str = Form(""),
    driver: str = Form(""),
    credential: str = Form(""),
    start_page: str = Form(""),
    visitor: Visitor = Depends(posted),
) -> HTMLResponse | RedirectResponse:
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    fields = {
        "id": id_,
        "name": name,
        "room": room,
        "kind": kind,
        "driver": driver,
        "credential": credential,
    }
    options = {"start_page": start_page} if start_page and driver == "freekiosk" else {}
    state, by = request.app.state, visitor.account.name
    try:
        with session(state.engine) as opened:
            one = opened.get(Proposal, number) if 0 < number < 2**31 else None
            if one is None or one.site_id not in visitor.sites:
                raise HTTPException(404)
            if do == "accept":
                device = discovery.accept(
                    opened, number, fields | {"options": options}, state.clock(), by, DRIVERS
                )
                target = f"/geraet/{device.id}?hinweis=find_accepted"
            else:
                discovery.ignore(opened, number, state.clock(), by)
                target = "/gefunden?hinweis=find_ignored"
    except discovery.DiscoveryRefused as refused:
        texts = [refusal(request, refused.code), *(fault.text for fault in refused.faults)]
        text = " ".join(texts)
        chosen = {"number": str(number), **fields, "start_page": start_page}
        return _page(request, visitor, refused=text, status=409, chosen=chosen)
    return RedirectResponse(target, 303)
