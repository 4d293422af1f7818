"""Brings one message to one address: by e-mail, webhook or log. Blocks for seconds at most."""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import smtplib
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import urlsplit

import httpx

from agents.credentials import CredentialProblem, Credentials
from fleet.outward import may_read
from fleet.outward import trust as _trust
from fleet.settings import Settings
from inventory import Channel

log = logging.getLogger(__name__)

STEP_S = 8.0
"""One connection, or one wait for an answer."""
TOTAL_S = 15.0
"""A webhook from the name to the answer."""

PROBLEMS: dict[str, str] = {
    "no_contact": "Nobody is named to be told.",
    "no_mail_server": "No mail server is set (FLEET_MAIL_HOST).",
    "no_secret": "The secret of the mail server or the webhook cannot be read.",
    "unreachable": "The mail server or webhook cannot be reached.",
    "timed_out": "The mail server or webhook answers too slowly.",
    "denied": "The mail server does not take the user and password, or the sender.",
    "busy": "The mail server or webhook cannot take it now.",
    "refused": "The mail server or webhook does not take it.",
    "refused_address": "The address leads into an internal network.",
    "expired": "Its time was over.",
}
"""Why a message did not arrive."""
FINAL = frozenset({"no_contact", "refused", "refused_address"})
"""Trying again would change nothing."""


class NotDelivered(Exception):
    """`code` is a key of PROBLEMS. No address and no secret in it."""

    def __init__(self, code: str) -> None:
        super().__init__(PROBLEMS[code])
        self.code = code


@dataclass(frozen=True)
class Parcel:
    """A message and where it goes."""

    id: str
    """The same at every try, so that a receiver can see a second one."""
    channel: Channel
    address: str
    credential: str
    subject: str
    text: str
    link: str
    level: str
    site: str
    room: str
    """Empty: the whole site."""


def deliver(parcel: Parcel, settings: Settings, now: datetime) -> None:
    """Raises NotDelivered."""
    if parcel.channel is not Channel.LOG and not parcel.address:
        raise NotDelivered("no_contact")
    _WAYS[parcel.channel](parcel, settings, now)


def _log(parcel: Parcel, _settings: Settings, _now: datetime) -> None:
    log.warning("%s (%s)", parcel.subject, parcel.link)


# --- e-mail ---------------------------------------------------------------------------------


def _mail(parcel: Parcel, settings: Settings, now: datetime) -> None:
    if not settings.mail_host:
        raise NotDelivered("no_mail_server")
    password = _password(settings) if settings.mail_user else ""
    try:
        server = _connected(settings)
        try:
            if settings.mail_user:
                server.login(settings.mail_user, password)
            server.send_message(_letter(parcel, settings, now))
        finally:
            # Once it is taken, a server that hangs up without a word must not bring it twice.
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
    except smtplib.SMTPAuthenticationError:
        raise NotDelivered("denied") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise NotDelivered("refused" if min(codes) >= 500 else "busy") from None
    except smtplib.SMTPDataError as error:
        raise NotDelivered("refused" if error.smtp_code >= 500 else "busy") from None
    except smtplib.SMTPSenderRefused as error:
        # That is said of us, not of the message: it can be put right while the message waits.
        raise NotDelivered("denied" if error.smtp_code >= 500 else "busy") from None
    except smtplib.SMTPResponseException:
        raise NotDelivered("busy") from None
    except TimeoutError:
        raise NotDelivered("timed_out") from None
    except (smtplib.SMTPException, OSError, ValueError):
        raise NotDelivered("unreachable") from None


def _connected(settings: Settings) -> smtplib.SMTP:
    place = (settings.mail_host, settings.mail_port)
    if settings.mail_tls == "tls":
        return smtplib.SMTP_SSL(*place, timeout=STEP_S, context=_trust())
    server = smtplib.SMTP(*place, timeout=STEP_S)
    if settings.mail_tls == "starttls":
        try:
            server.starttls(context=_trust())
        except (smtplib.SMTPException, OSError, ValueError):
            server.close()
            raise
    return server


def _password(settings: Settings) -> str:
    try:
        if settings.mail_password_file is not None:
            return settings.mail_password_file.read_text().strip()
        return Credentials(settings.credentials).find(settings.mail_credential)["password"]
    except (CredentialProblem, OSError):
        raise NotDelivered("no_secret") from None


def _letter(parcel: Parcel, settings: Settings, now: datetime) -> EmailMessage:
    host = urlsplit(settings.public_url).hostname or "localhost"
    letter = EmailMessage()
    letter["From"] = settings.mail_from or f"raumwart@{host}"
    letter["To"] = parcel.address
    letter["Subject"] = " ".join(parcel.subject.split())
    letter["Date"] = format_datetime(now)
    letter["Message-ID"] = f"<{parcel.id}@{host}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(parcel.text)
    return letter


# --- webhook --------------------------------------------------------------------------------


def signature(secret: str, at: str, body: bytes) -> str:
    """What stands in `X-Raumwart-Signature`; the moment is signed too, so that nothing recorded
    can be sent again later."""
    return (
        "sha256=" + hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    )


def _webhook(parcel: Parcel, settings: Settings, now: datetime) -> None:
    body = json.dumps(
        {
            "id": parcel.id,
            "level": parcel.level,
            "site": parcel.site,
            "room": parcel.room,
            "subject": parcel.subject,
            "text": parcel.text,
            "link": parcel.link,
        },
        ensure_ascii=False,
    ).encode()
    at = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": parcel.id,
        "X-Raumwart-Timestamp": at,
    }
    if parcel.credential:
        try:
            secret = Credentials(settings.credentials).find(parcel.credential)["secret"]
        except CredentialProblem:
            raise NotDelivered("no_secret") from None
        headers["X-Raumwart-Signature"] = signature(secret, at, body)
    _trust()  # before the receiver's time is counted
    status = asyncio.run(_within_time(parcel.address, headers, body, settings.webhook_networks))
    if status in (408, 425, 429) or status >= 500:
        raise NotDelivered("busy")
    if not 200 <= status < 300:
        raise NotDelivered("refused")


async def _within_time(
    address: str, headers: dict[str, str], body: bytes, networks: list[str]
) -> int:
    try:
        async with asyncio.timeout(TOTAL_S):
            return await _post(httpx.URL(address), headers, body, networks)
    except (TimeoutError, httpx.TimeoutException):
        raise NotDelivered("timed_out") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError):
        raise NotDelivered("unreachable") from None


async def _post(url: httpx.URL, headers: dict[str, str], body: bytes, networks: list[str]) -> int:
    """The status of the answer; nothing of it is read, and no redirect is followed. The name is
    resolved once, and the connection goes to the very address that was judged."""
    if url.scheme not in ("http", "https") or not url.host:
        raise NotDelivered("refused_address")
    allowed = [ipaddress.ip_network(each, strict=False) for each in networks]
    port = url.port or (443 if url.scheme == "https" else 80)
    name = url.raw_host.decode("ascii")
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
    if not all(may_read(address, allowed) for address in addresses):
        raise NotDelivered("refused_address")
    async with httpx.AsyncClient(timeout=STEP_S, trust_env=False, verify=_trust()) as client:
        request = client.build_request(
            "POST",
            url.copy_with(host=str(addresses[0])),
            headers={**headers, "Host": url.netloc.decode("ascii")},
            content=body,
            extensions={"sni_hostname": name},
        )
        response = await client.send(request, stream=True)
        await response.aclose()
        return response.status_code


_WAYS: dict[Channel, Callable[[Parcel, Settings, datetime], None]] = {
    Channel.MAIL: _mail,
    Channel.WEBHOOK: _webhook,
    Channel.LOG: _log,
}
