"""Decides who is asking, what they may see, and what they may do."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import Depends, HTTPException, Request, Response
from sqlalchemy import Engine, update
from sqlmodel import Session, col, delete, select

from fleet.settings import Settings
from inventory import Account, CalendarLink, OneTimeLink, Role, SignIn, Site
from inventory.db import reading, session

COOKIE = "raumwart"
SESSION = timedelta(days=7)
INVITATION = timedelta(hours=24)
MIN_PASSWORD = 12
FORM_LIFE = timedelta(hours=12)
FORM_MIN_AGE = timedelta(seconds=2)

_hasher = PasswordHasher()
_NOBODY = _hasher.hash(secrets.token_urlsafe())
"""Checked when a name is unknown, so that the answer takes as long as for a known one."""


class Action(StrEnum):
    VIEW = "view"
    WORK = "work"
    RESET = "reset"
    EDIT = "edit"
    ADMIN = "admin"


MAY: dict[Role, frozenset[Action]] = {
    Role.REGION_ADMIN: frozenset(Action),
    Role.MUNICIPAL_IT: frozenset({Action.VIEW, Action.WORK, Action.RESET, Action.EDIT}),
    Role.CARETAKER: frozenset({Action.VIEW, Action.WORK}),
    Role.VIEWER: frozenset({Action.VIEW}),
}


class NotSignedIn(HTTPException):
    """Nobody is signed in: a browser is sent to the sign-in page, a script gets 401."""

    def __init__(self) -> None:
        super().__init__(401, "Sign in first.", {"WWW-Authenticate": "Bearer"})


class WeakPassword(ValueError):
    """A password is too short, or is the account's own name."""


@dataclass(frozen=True)
class Visitor:
    """Who is asking. `sites` are the ids of the sites that they may see."""

    account: Account
    csrf: str
    sites: frozenset[str]

    def can(self, action: Action) -> bool:
        return action in MAY[self.account.role]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# --- accounts -------------------------------------------------------------------------------


def set_password(account: Account, password: str) -> None:
    """Give the account a new password (argon2id). Raises WeakPassword."""
    if len(password) < MIN_PASSWORD:
        raise WeakPassword(f"at least {MIN_PASSWORD} characters")
    if password.casefold() == account.name.casefold():
        raise WeakPassword("not the name of the account")
    account.password_hash = _hasher.hash(password)


def invite(session: Session, account: Account, now: datetime) -> str:
    """A token for `/einladung/…` that signs this account in once, within 24 hours.

    An invitation given before and not used is void from now on.
    """
    assert account.id is not None
    session.exec(delete(OneTimeLink).where(col(OneTimeLink.account_id) == account.id))
    token = secrets.token_urlsafe(32)
    session.add(
        OneTimeLink(token_hash=_hash(token), account_id=account.id, expires_at=now + INVITATION)
    )
    return token


def first_invitation(session: Session, now: datetime) -> str | None:
    """A token for the first admin, as long as nobody has ever set a password; else None."""
    if session.exec(select(Account.id).where(Account.password_hash != "")).first() is not None:
        return None
    admin = session.exec(select(Account).where(Account.role == Role.REGION_ADMIN)).first()
    if admin is None:
        admin = Account(name="admin", role=Role.REGION_ADMIN, created_at=now)
        session.add(admin)
        session.flush()
    return invite(session, admin, now)


# --- sessions -------------------------------------------------------------------------------


def open_session(
    session: Session, account: Account, now: datetime, life: timedelta = SESSION
) -> tuple[str, SignIn]:
    """A new session; the secret goes into the cookie (or a script's bearer header) only."""
    secret = secrets.token_urlsafe(32)
    assert account.id is not None
    opened = SignIn(
        token_hash=_hash(secret),
        account_id=account.id,
        csrf=secrets.token_urlsafe(24),
        started_at=now,
        expires_at=now + life,
    )
    session.add(opened)
    return secret, opened


def right_password(account: Account | None, password: str) -> bool:
    """Whether this is the account's password. Takes a tenth of a second, so no transaction should
    be open; as long when there is no such account."""
    stored = account.password_hash if account and account.password_hash else _NOBODY
    try:
        _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
    return stored != _NOBODY


def sign_in(engine: Engine, name: str, password: str, now: datetime) -> tuple[str, SignIn] | None:
    """The new session's secret and row, or None: wrong name or password, or a closed account.

    No transaction is open while the password is checked: on SQLite every writer would wait for it.
    """
    with reading(engine) as opened:
        account = opened.exec(select(Account).where(Account.name == name)).first()
    if not right_password(account, password) or account is None:
        return None
    stored = account.password_hash
    fresh = _hasher.hash(password) if _hasher.check_needs_rehash(stored) else stored
    with session(engine) as opened:
        held = opened.get(Account, account.id, with_for_update=True)
        if held is None or not held.active or held.password_hash != stored:
            return None  # closed, or another password was set meanwhile
        held.password_hash = fresh
        return open_session(opened, held, now)


def redeem(session: Session, token: str, now: datetime) -> tuple[str, SignIn] | None:
    """Use a one-time link up. None: unknown, used before, or too old."""
    used = session.exec(
        update(OneTimeLink)
        .where(
            col(OneTimeLink.token_hash) == _hash(token),
            col(OneTimeLink.used_at).is_(None),
            col(OneTimeLink.expires_at) > now,
        )
        .values(used_at=now)
    )
    if used.rowcount != 1:
        return None
    link = session.exec(select(OneTimeLink).where(OneTimeLink.token_hash == _hash(token))).one()
    account = session.get_one(Account, link.account_id)
    return open_session(session, account, now) if account.active else None


def sign_out(session: Session, secret: str) -> None:
    session.exec(delete(SignIn).where(col(SignIn.token_hash) == _hash(secret)))


def set_cookie(response: Response, secret: str, settings: Settings) -> None:
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(SESSION.total_seconds()),
        httponly=True,
        secure=settings.public_url.startswith("https://"),
        samesite="lax",
    )


# --- addresses for calendar programs --------------------------------------------------------


def new_calendar_link(
    session: Session,
    account: Account,
    now: datetime,
    *,
    site: str | None = None,
    room: str | None = None,
) -> str:
    """A token for `/kalender/<token>.ics`: reads the courses of this room, of this site, or of all
    that the account may see, and nothing else. Only its hash is kept."""
    token = secrets.token_urlsafe(32)
    assert account.id is not None
    session.add(
        CalendarLink(
            token_hash=_hash(token),
            account_id=account.id,
            site_id=site,
            room_id=room,
            created_at=now,
        )
    )
    return token


def forget_calendar_link(session: Session, account: Account, token_hash: str) -> None:
    """Whoever still uses this address of the account reads nothing from now on."""
    session.exec(
        delete(CalendarLink).where(
            col(CalendarLink.token_hash) == token_hash,
            col(CalendarLink.account_id) == account.id,
        )
    )


def calendar_reader(
    session: Session, token: str, now: datetime
) -> tuple[CalendarLink, frozenset[str]] | None:
    """The link and the ids of the sites that its account may see now, or None."""
    row = session.exec(
        select(CalendarLink, Account)
        .join(Account, col(Account.id) == col(CalendarLink.account_id))
        .where(CalendarLink.token_hash == _hash(token), Account.active)
    ).first()
    if row is None:
        return None
    link, account = row
    if link.used_at is None or now - link.used_at > timedelta(hours=1):
        link.used_at = now
    return link, visible_sites(session, account)


# --- who is asking --------------------------------------------------------------------------


def visible_sites(session: Session, account: Account) -> frozenset[str]:
    """The ids of the sites that this account may see."""
    sites = select(Site.id)
    if account.municipality is not None:
        sites = sites.where(Site.municipality == account.municipality)
    return frozenset(session.exec(sites))


def _secret(request: Request) -> tuple[str, bool]:
    """The session's secret, and whether a script sent it (which needs no CSRF check)."""
    header = request.headers.get("authorization", "")
    if header.lower().startswith("bearer "):
        return header[7:].strip(), True
    return request.cookies.get(COOKIE, ""), False


def visitor_of(request: Request) -> Visitor | None:
    """Who is asking, or None. One short read."""
    secret, _ = _secret(request)
    if not secret:
        return None
    now: datetime = request.app.state.clock()
    with reading(request.app.state.engine) as session:
        row = session.exec(
            select(SignIn, Account)
            .join(Account, col(Account.id) == col(SignIn.account_id))
            .where(SignIn.token_hash == _hash(secret), SignIn.expires_at > now, Account.active)
        ).first()
        if row is None:
            return None
        opened, account = row
        return Visitor(account, opened.csrf, visible_sites(session, account))


def signed_in(request: Request) -> Visitor:
    """FastAPI dependency: the visitor. Raises NotSignedIn."""
    visitor = visitor_of(request)
    if visitor is None:
        raise NotSignedIn
    return visitor


async def posted(request: Request, visitor: Visitor = Depends(signed_in)) -> Visitor:
    """FastAPI dependency: the visitor of a form whose `csrf` field is this session's own."""
    if _secret(request)[1]:
        return visitor
    form = await request.form()
    if not hmac.compare_digest(str(form.get("csrf", "")).encode(), visitor.csrf.encode()):
        raise HTTPException(403, "This form is too old. Go back, reload the page, send it again.")
    return visitor


def may(action: Action) -> Callable[[Visitor], Visitor]:
    """FastAPI dependency: a visitor whose role allows this action, else 403."""

    def check(visitor: Visitor = Depends(signed_in)) -> Visitor:
        if not visitor.can(action):
            raise HTTPException(403, "Your account may not do this.")
        return visitor

    return check


# --- forms without sign-in ------------------------------------------------------------------


def load_key(home: Path) -> bytes:
    """The service's signing key: made at the first start, readable by its owner only."""
    path = home / "signing.key"
    home.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = home / f".signing.key.{secrets.token_hex(4)}"
        fresh.touch(0o600)
        fresh.write_bytes(secrets.token_bytes(32))
        # A link is all or nothing: of several processes that start at once, one key wins.
        with suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_bytes()


def _signature(key: bytes, purpose: str, stamp: str) -> str:
    return hmac.new(key, f"{purpose}|{stamp}".encode(), hashlib.sha256).hexdigest()


def form_token(key: bytes, purpose: str, now: datetime) -> str:
    """Proof that we gave this form out for this purpose, and when; it needs no cookie."""
    stamp = str(int(now.timestamp()))
    return f"{stamp}.{_signature(key, purpose, stamp)}"


def check_form_token(key: bytes, token: str, purpose: str, now: datetime) -> bool:
    """Whether the form is ours, no older than 12 hours, and was not filled in by a machine
    in under two seconds."""
    stamp, _, signature = token.partition(".")
    expected = _signature(key, purpose, stamp)
    if not stamp.isdigit() or not hmac.compare_digest(signature.encode(), expected.encode()):
        return False
    age = now - datetime.fromtimestamp(int(stamp), UTC)
    return FORM_MIN_AGE <= age <= FORM_LIFE
