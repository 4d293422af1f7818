"""The reset's own test: each day one laptop of each room is soiled on purpose, reset and looked at.

The laptop plants a trace wherever a guest can leave one, and says how many its probe does not see.
A reset that lets one survive, or a probe that is blind, is found here and not by the next guest.
"""

from fleet.canary.planning import TRIES, ask, plan
from fleet.canary.standing import Stand, doubts, stands
from inventory.recipes import CANARY

__all__ = ["CANARY", "TRIES", "Stand", "ask", "doubts", "plan", "stands"]
