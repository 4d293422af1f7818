"""What the pages say that the look after a reset found."""

from collections.abc import Mapping
from typing import Any

from dashboards.evidence import Point, points
from inventory import Recipe, ResetRun, RunState
from inventory.recipes import BUILT_IN

CLEAN = {"reset_id": "r.1", "home_clean": True, "residue": 0, "used_since": False}


def found(
    evidence: Mapping[str, Any],
    state: RunState = RunState.FAILED,
    recipe: Recipe = BUILT_IN["laptop-reset"],
) -> list[Point]:
    fields: dict[str, Any] = {"order_id": "r.1", "state": state, "evidence": dict(evidence)}
    run = ResetRun(**fields)
    return points(run, recipe, "de", lambda text: text)


def test_a_proved_reset_names_everything_that_was_checked() -> None:
    told = found(CLEAN, RunState.VERIFIED)
    assert all(point.good for point in told)
    assert {point.text for point in told} == {
        "Das Gerät nennt genau diesen Auftrag als erledigt.",
        "Der Gast-Ordner gleicht der Vorlage.",
        "Keine Spuren von Gästen.",
        "Seit der Zurücksetzung hat sich niemand angemeldet.",
    }


def test_traces_are_counted_and_placed() -> None:
    told = found({**CLEAN, "residue": 2, "residue_places": "tmp,opt"})
    assert [point.text for point in told if not point.good] == [
        "Spuren von Gästen: 2, und zwar im Zwischenspeicher (tmp), opt."
    ]


def test_what_the_device_does_not_tell_is_not_in_order() -> None:
    told = found({name: CLEAN[name] for name in CLEAN if name != "used_since"})
    assert [point.text for point in told if not point.good] == [
        "Seitdem benutzt: Das Gerät sagt es nicht."
    ]


def test_a_recipe_of_ones_own_is_put_into_words_too() -> None:
    own = Recipe(id="own", name="own", expects={"battery_ratio": {"min": 0.5}})
    assert found({"battery_ratio": 0.4}, recipe=own) == [
        Point(False, "Akku: 40 %, anders als verlangt.")
    ]
    assert found({"battery_ratio": 0.4}, RunState.VERIFIED, own) == []
    assert found({}, recipe=own) == []
