"""Who hangs on what, for the agent that may take power or network away for a moment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from agents.messages import Target
from inventory import DeviceKind


def wired(
    targets: Sequence[Target], uplinks: Mapping[str, str | None], rooms: Sequence[str]
) -> list[Target]:
    """The same targets; an access point knows its switch, and the rooms that would feel its loss.

    Where nobody wrote down what hangs on it, that is every room of the site.
    """
    known = {target.device: target for target in targets}
    behind: defaultdict[str, set[str]] = defaultdict(set)
    for target in targets:
        above, seen = uplinks.get(target.device), {target.device}
        while above and above not in seen:
            behind[above].add(target.room)
            seen.add(above)
            above = uplinks.get(above)
    return [
        target.model_copy(
            update={
                "uplink": known.get(uplinks.get(target.device) or ""),
                "serves": sorted({target.room, *(behind[target.device] or rooms)}),
            }
        )
        if target.kind == DeviceKind.ACCESS_POINT
        else target
        for target in targets
    ]
