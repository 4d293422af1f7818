"""Decides when a site's networks are searched, and what the finds mean for the inventory.

What a search finds is never put into the inventory by itself: it is proposed. The one exception
is a known device that has proved who it is and is silent at its old address: it is followed.
"""

from fleet.discovery.accepting import REFUSALS, DiscoveryRefused, accept, ignore
from fleet.discovery.finds import take
from fleet.discovery.searches import PROBLEMS, ask, claim, expire, give_back, plan

__all__ = [
    "PROBLEMS",
    "REFUSALS",
    "DiscoveryRefused",
    "accept",
    "ask",
    "claim",
    "expire",
    "give_back",
    "ignore",
    "plan",
    "take",
]
