"""From the name of a feed's credential to what opens it; the secret goes into the request only."""

from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

from agents.credentials import CredentialProblem, Credentials
from fleet.timetable.feeds import FetchFailed, Login
from inventory import Feed


def open_feed(feed: Feed, folder: Path | None) -> tuple[str, Login | None]:
    """The feed's address and what opens it.

    The credential is a JSON object: `host` (required, so that no feed can carry it elsewhere), and
    `user` with `password`, or `token`, or `url`: the whole address, where that itself is the
    secret. Raises FetchFailed.
    """
    if not feed.credential:
        return feed.url, None
    try:
        secret = Credentials(folder).find(feed.credential)
        host, address = secret["host"], secret.get("url") or feed.url
        if "password" in secret.parts:
            told = b64encode(f"{secret['user']}:{secret['password']}".encode()).decode()
            login = Login(host, f"Basic {told}")
        elif "token" in secret.parts:
            login = Login(host, f"Bearer {secret['token']}")
        else:
            login, address = None, secret["url"]
    except CredentialProblem as problem:
        raise FetchFailed("no_credential", str(problem)) from None
    try:
        hosts = {str(urlsplit(each).hostname).lower() for each in (address, feed.url)}
    except ValueError:
        hosts = set()
    if hosts != {host.lower()}:
        raise FetchFailed("no_credential", "the credential is for another host")
    return address, login
