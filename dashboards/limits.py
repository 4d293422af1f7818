"""How often may be tried without an account. Everything is in memory and gone within the hour."""

import hashlib
import hmac
import ipaddress
import secrets
from datetime import timedelta

from fastapi import Request

from fleet.security import RateLimit


class Limits:
    """One per application. Addresses are shortened to their network and hashed with a salt that
    lives as long as the process: nobody can read them back."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)
        self.per_code = RateLimit(5, timedelta(hours=1))
        """Reports by one device's code."""
        self.per_network = RateLimit(30, timedelta(hours=1))
        """Reports from one network: a house full of devices reports through one address."""
        self.me_too = RateLimit(1, timedelta(hours=1))
        self.sign_in = RateLimit(10, timedelta(minutes=15))
        """Wrong passwords for one name from one network."""
        self.sign_in_network = RateLimit(50, timedelta(minutes=15))

    def network(self, request: Request) -> str:
        """A pseudonym of the network that the request comes from."""
        host = request.client.host if request.client else ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            prefix = host
        else:
            length = 24 if address.version == 4 else 48
            prefix = str(ipaddress.ip_network((address, length), strict=False))
        return hmac.new(self._salt, prefix.encode(), hashlib.sha256).hexdigest()[:16]
