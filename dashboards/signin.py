"""Signing in and out, invitations, and a new password."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import col, delete

from dashboards import words
from dashboards.limits import Limits
from dashboards.view import page
from fleet import auth
from inventory import Account, SignIn
from inventory.db import session

router = APIRouter(default_response_class=HTMLResponse)

WRONG = words.N_("Name oder Kennwort stimmt nicht.")
TOO_OFTEN = words.N_("Zu viele Versuche. Bitte warten Sie eine Viertelstunde.")
WRONG_CURRENT = words.N_("Das bisherige Kennwort stimmt nicht.")
WEAK = words.N_("Das Kennwort ist zu kurz oder gleicht dem Namen.")


def onward_path(target: str) -> str:
    """Where to go after signing in: only ever a page of our own."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    ours = not parts.scheme and not parts.netloc and target.startswith("/")
    return target if ours and not target.startswith(("//", "/\\")) else "/"


def same_site(request: Request) -> None:
    """FastAPI dependency: refuses a form that another site made the browser send."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        raise HTTPException(403)


@router.get("/anmelden")
def ask(request: Request, weiter: str = "/", hinweis: str = "") -> HTMLResponse:
    return _ask_page(request, onward_path(weiter), hint=hinweis)


def _ask_page(
    request: Request,
    onward: str,
    *,
    name: str = "",
    error: str = "",
    hint: str = "",
    status: int = 200,
) -> HTMLResponse:
    errors = {"name": error} if error else {}
    return page(
        request,
        "signin.html",
        http_status=status,
        onward=onward,
        name=name,
        errors=errors,
        hint=hint,
    )


@router.post("/anmelden", dependencies=[Depends(same_site)], response_model=None)
def sign_in(
    request: Request,
    name: str = Form(""),
    password: str = Form(""),
    weiter: str = Form("/"),
) -> HTMLResponse | RedirectResponse:
    state = request.app.state
    limits: Limits = state.limits
    network, now = limits.network(request), state.clock()
    onward = onward_path(weiter)
    known = name.strip()
    if not (
        limits.sign_in_network.allow(network, now)
        and limits.sign_in.allow(f"{network}|{known}", now)
    ):
        return _ask_page(request, onward, name=known, error=TOO_OFTEN, status=429)
    entered = auth.sign_in(state.engine, known, password, now)
    if entered is None:
        return _ask_page(request, onward, name=known, error=WRONG, status=422)
    answer = RedirectResponse(onward, 303)
    auth.set_cookie(answer, entered[0], state.settings)
    return answer


@router.post("/abmelden")
def sign_out(request: Request, _: auth.Visitor = Depends(auth.posted)) -> RedirectResponse:
    with session(request.app.state.engine) as opened:
        auth.sign_out(opened, request.cookies.get(auth.COOKIE, ""))
    answer = RedirectResponse("/anmelden?hinweis=signed_out", 303)
    answer.delete_cookie(auth.COOKIE)
    return answer


@router.get("/einladung/{token}")
def invitation(request: Request, token: str) -> HTMLResponse:
    return page(request, "invitation.html", spent=False)


@router.post("/einladung/{token}", dependencies=[Depends(same_site)], response_model=None)
def redeem(request: Request, token: str) -> HTMLResponse | RedirectResponse:
    """Use the link up; then offer a new password, which needs no old one this once."""
    state = request.app.state
    with session(state.engine) as opened:
        entered = auth.redeem(opened, token, state.clock())
        if entered is None:
            return page(request, "invitation.html", http_status=410, spent=True)
        secret, sign_in_row = entered
        account = opened.get_one(Account, sign_in_row.account_id)
    answer: HTMLResponse | RedirectResponse
    if getattr(state, "demo", False):
        answer = RedirectResponse("/", 303)
    else:
        proof = auth.form_token(state.key, _purpose(account), state.clock())
        answer = _password_page(request, account, sign_in_row.csrf, proof)
    auth.set_cookie(answer, secret, state.settings)
    return answer


@router.get("/kennwort")
def ask_password(request: Request, visitor: auth.Visitor = Depends(auth.signed_in)) -> HTMLResponse:
    return _password_page(request, visitor.account, visitor.csrf)


def _purpose(account: Account) -> str:
    # The old hash in it makes the proof void once a new password is set.
    return f"password|{account.id}|{account.password_hash}"


def _password_page(
    request: Request,
    account: Account,
    csrf: str,
    proof: str = "",
    errors: dict[str, str] | None = None,
) -> HTMLResponse:
    return page(
        request,
        "password.html",
        http_status=422 if errors else 200,
        account=account,
        csrf=csrf,
        proof=proof,
        errors=errors or {},
    )


@router.post("/kennwort", response_model=None)
def set_password(
    request: Request,
    password: str = Form(""),
    current: str = Form(""),
    proof: str = Form(""),
    visitor: auth.Visitor = Depends(auth.posted),
) -> HTMLResponse | RedirectResponse:
    """Every other session of the account ends: who knew the old password is out."""
    state, now = request.app.state, request.app.state.clock()
    account, before = visitor.account, visitor.account.password_hash
    proved = auth.check_form_token(state.key, proof, _purpose(account), now)
    wrong = {"current": WRONG_CURRENT}
    # Checking and hashing are slow on purpose, so they are done before the transaction.
    if not proved and not auth.right_password(account, current):
        return _password_page(request, account, visitor.csrf, errors=wrong)
    try:
        auth.set_password(account, password)
    except auth.WeakPassword:
        kept = proof if proved else ""
        return _password_page(request, account, visitor.csrf, kept, {"password": WEAK})
    with session(state.engine) as opened:
        held = opened.get_one(Account, account.id, with_for_update=True)
        if held.password_hash != before:  # another one was set meanwhile
            return _password_page(request, held, visitor.csrf, errors=wrong)
        held.password_hash = account.password_hash
        opened.exec(delete(SignIn).where(col(SignIn.account_id) == held.id))
        secret, _ = auth.open_session(opened, held, now)
    answer = RedirectResponse("/?hinweis=password_set", 303)
    auth.set_cookie(answer, secret, state.settings)
    return answer
