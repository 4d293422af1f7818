"""The built-in recipes: there when they are missed, left alone when somebody edited them."""

from sqlalchemy import Engine
from sqlmodel import select

from agents.facts import FACTS
from inventory import DeviceKind, Recipe
from inventory.db import reading, session
from inventory.recipes import BUILT_IN, DEFAULT_RECIPE, ensure_recipes


def test_missing_ones_are_inserted_and_edited_ones_stay(engine: Engine) -> None:
    with session(engine) as opened:
        edited = Recipe(id="projector-ready", name="Unser Beamer", steps={"input": "32"})
        opened.add(edited)
    for _ in range(2):
        with session(engine) as opened:
            ensure_recipes(opened)
    with reading(engine) as opened:
        recipes = {recipe.id: recipe for recipe in opened.exec(select(Recipe))}
    assert recipes.keys() == BUILT_IN.keys()
    assert recipes["projector-ready"].steps == {"input": "32"}
    assert recipes["laptop-reset"].expects["reset_id"] == {"is": "order"}
    assert recipes["laptop-reset"].expects["home_clean"] is True


def test_what_is_stored_is_a_copy(engine: Engine) -> None:
    with session(engine) as opened:
        ensure_recipes(opened)
        opened.get_one(Recipe, "laptop-reset").steps["tier"] = "full"
    assert BUILT_IN["laptop-reset"].steps == {"tier": "quick", "profile": "standard"}


def test_every_kind_has_a_recipe_and_every_expected_fact_exists() -> None:
    assert set(DEFAULT_RECIPE) == set(DeviceKind)
    assert set(DEFAULT_RECIPE.values()) <= BUILT_IN.keys()
    for recipe in BUILT_IN.values():
        assert recipe.expects.keys() <= FACTS.keys(), recipe.id
