#!/usr/bin/env python3
"""Ansible's inventory, asked of the service: `ansible-playbook -i inventory_fleet.py site.yml`.

FLEET_URL names the service; FLEET_TOKEN (or the file FLEET_TOKEN_FILE) holds a token that
`fleet token NAME` printed. Needs nothing but Python.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path


def token() -> str:
    """The bearer token, from the environment or the file it names."""
    path = os.environ.get("FLEET_TOKEN_FILE")
    return Path(path).read_text().strip() if path else os.environ.get("FLEET_TOKEN", "")


def ask() -> dict:
    """The whole inventory in Ansible's own form. Ends with a clear sentence when it fails."""
    url = os.environ.get("FLEET_URL", "http://127.0.0.1:8080").rstrip("/") + "/api/v1/ansible"
    if not url.startswith(("http://", "https://")):
        sys.exit(f"FLEET_URL must begin with http:// or https://, not {url!r}")
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token()}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url} answered {error.code}: is FLEET_TOKEN right?")
    except (OSError, ValueError) as error:
        sys.exit(f"{url} cannot be read: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true")
    what.add_argument("--host")
    chosen = parser.parse_args()
    inventory = ask()
    if chosen.host:
        inventory = inventory.get("_meta", {}).get("hostvars", {}).get(chosen.host, {})
    json.dump(inventory, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
