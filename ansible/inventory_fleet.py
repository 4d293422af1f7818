#!/usr/bin/env python3
"""Ansible's inventory, asked of the service: `ansible-playbook -i inventory_fleet.py site.yml`.

FLEET_URL names the service; FLEET_TOKEN (or the file FLEET_TOKEN_FILE) holds a token that
`fleet token NAME` printed. Needs nothing but Python.
"""

import argparse
import http.client
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path


class StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the token is for this service alone."""

    def redirect_request(self, *_):
        return None


def token() -> str:
    """The bearer token, from the environment or the file it names."""
    path = os.environ.get("FLEET_TOKEN_FILE")
    try:
        found = Path(path).expanduser().read_text() if path else os.environ.get("FLEET_TOKEN", "")
    except (OSError, ValueError) as error:
        sys.exit(f"FLEET_TOKEN_FILE cannot be read: {error}")
    found = found.strip()
    if not found:
        sys.exit("Set FLEET_TOKEN or FLEET_TOKEN_FILE; `fleet token NAME` prints a token")
    if not (found.isascii() and found.isprintable() and " " not in found):
        sys.exit("The token is none: it must be one line of letters, digits and signs")
    return found


def ask(url: str) -> dict:
    """The whole inventory in Ansible's own form. Ends with a clear sentence when it fails."""
    if not url.startswith(("http://", "https://")):
        sys.exit(f"FLEET_URL must begin with http:// or https://, not {url!r}")
    headers = {"Authorization": f"Bearer {token()}"}
    try:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            url.rstrip("/") + "/api/v1/ansible", headers=headers
        )
        with urllib.request.build_opener(StayHere).open(request, timeout=30) as answer:
            inventory = json.load(answer)
    except urllib.error.HTTPError as error:
        hint = ": is FLEET_TOKEN right?" if error.code in (401, 403) else ": is FLEET_URL right?"
        sys.exit(f"{url} answered {error.code}{hint}")
    except ValueError as error:
        sys.exit(f"{url} gave no inventory: {error}")
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{url} cannot be read: {' '.join(str(error).split())}")
    if not isinstance(inventory, dict) or "_meta" not in inventory:
        sys.exit(f"{url} gave no inventory: is FLEET_URL right?")
    return inventory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true")
    what.add_argument("--host")
    chosen = parser.parse_args()
    inventory = ask(os.environ.get("FLEET_URL", "http://127.0.0.1:8080"))
    if chosen.host:
        inventory = inventory["_meta"]["hostvars"].get(chosen.host, {})
    json.dump(inventory, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
