"""What explains that a device is silent: links, access points, power, the whole site."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.health.causes import SITE, Sight, causes
from inventory import DeviceKind

AP, SWITCH, UPS = DeviceKind.ACCESS_POINT, DeviceKind.SWITCH, DeviceKind.UPS
LAPTOP, PROJECTOR = DeviceKind.LAPTOP, DeviceKind.PROJECTOR


def seen(
    name: str, kind: DeviceKind, *, silent: bool = True, uplink: str = "", power: str = "",
    room: str = "r", site: str = "s", on_battery: bool = False,
) -> Sight:  # fmt: skip
    return Sight(name, kind, room, site, uplink or None, power or None, silent, on_battery)


HEALTHY = seen("well", PROJECTOR, silent=False)


@pytest.mark.parametrize(
    ("sights", "expected"),
    [
        ([seen("l", LAPTOP), HEALTHY], {}),
        ([seen("ap", AP), seen("l", LAPTOP), HEALTHY], {"l": "ap"}),
        ([seen("ap", AP), seen("ap2", AP, silent=False), seen("l", LAPTOP)], {}),
        ([seen("ap", AP), seen("l", LAPTOP, room="other"), HEALTHY], {}),
        ([seen("ap", AP), seen("p", PROJECTOR), HEALTHY], {}),
        (
            [seen("sw", SWITCH), seen("ap", AP, uplink="sw"), seen("l", LAPTOP), HEALTHY],
            {"ap": "sw", "l": "sw"},
        ),
        (
            [seen("sw", SWITCH, silent=False), seen("ap", AP, uplink="sw"), seen("l", LAPTOP)],
            {"l": "ap"},
        ),
        (
            [seen("u", UPS), seen("sw", SWITCH, power="u"), seen("p", PROJECTOR, uplink="sw"),
             HEALTHY],
            {"sw": "u", "p": "u"},
        ),
        (
            [seen("u", UPS, silent=False, on_battery=True), seen("p", PROJECTOR),
             seen("sw", SWITCH, power="u", silent=False)],
            {"p": "u"},
        ),
        (
            [seen("u", UPS, silent=False, on_battery=True), seen("sw", SWITCH, power="u")],
            {},
        ),
        (
            [seen("a", AP, uplink="b"), seen("b", SWITCH, uplink="a"), HEALTHY],
            {"b": "a"},
        ),
        ([seen(n, PROJECTOR) for n in "abcd"], dict.fromkeys("abcd", SITE)),
        ([seen(n, PROJECTOR) for n in "abc"], {}),
        ([seen(n, PROJECTOR) for n in "abcd"] + [HEALTHY], {}),
        (
            [seen("sw", SWITCH), *(seen(n, PROJECTOR, uplink="sw") for n in "abc")],
            dict.fromkeys("abc", "sw"),
        ),
    ],
)  # fmt: skip
def test_who_explains_whom(sights: list[Sight], expected: dict[str, str]) -> None:
    assert causes(sights) == expected


@st.composite
def regions(draw: st.DrawFn) -> list[Sight]:
    names = [f"d{n}" for n in range(draw(st.integers(1, 9)))]
    link = st.sampled_from(["", *names, "gone"])
    return [
        seen(
            name,
            draw(st.sampled_from(DeviceKind)),
            silent=draw(st.booleans()),
            uplink=draw(link),
            power=draw(link),
            room=draw(st.sampled_from("rq")),
            site=draw(st.sampled_from("st")),
        )
        for name in names
    ]


@given(regions(), st.randoms())
def test_only_the_silent_are_explained_and_by_the_silent(
    sights: list[Sight], chance: object
) -> None:
    found = causes(sights)
    known = {sight.id: sight for sight in sights}
    for device, cause in found.items():
        assert known[device].silent
        assert cause == SITE or known[cause].silent
        assert cause != device
    silent = {sight.id for sight in sights if sight.silent}
    assert not silent or any(found.get(name, SITE) == SITE for name in silent), "somebody is told"
    chance.shuffle(sights)
    assert causes(sights) == found
