"""Facts in words and human units: 0.42 is "42 %", 5400 seconds are "1,5 Std."."""

from collections.abc import Callable
from typing import Any

from babel.numbers import format_decimal, format_percent

from agents.facts import FACTS
from dashboards import words
from dashboards.fact_words import FACT_VALUES

INPUTS = {
    "1": words.N_("Computer"),
    "2": words.N_("Video"),
    "3": words.N_("Digital"),
    "4": words.N_("Speicher"),
    "5": words.N_("Netzwerk"),
    "6": words.N_("Eingebaut"),
}
"""What the first digit of a PJLink input means; the second one counts."""

UNITS = {"celsius": "°C", "dbm": "dBm", "hz": "Hz", "watts": "W", "volts": "V"}


def human(name: str, value: Any, language: str, translate: Callable[[str], str]) -> str:
    """A fact's value as people say it; a fact that we do not know stays as it is."""
    fact = FACTS.get(name)
    if fact is None or value is None:
        return str(value)
    if isinstance(value, bool):
        return translate(words.YES if value else words.NO)
    if isinstance(value, str):
        return _text(name, value, translate)
    if not isinstance(value, int | float):
        if not isinstance(value, list):
            return str(value)
        told = (
            _step_time(str(one), language, translate)
            if name == "step_times"
            else _text(name, str(one), translate)
            for one in value
        )
        return ", ".join(map(_unbroken, told))
    return _measure(fact.unit, name, value, language, translate)


def _unbroken(line: str) -> str:
    """ "Toner: 40 %" never ends a line before its number."""
    return line.replace(": ", ":\u00a0").replace(" %", "\u00a0%")


def _text(name: str, value: str, translate: Callable[[str], str]) -> str:
    if name in ("input", "inputs") and value[1:2] and value[0] in INPUTS and not value[2:3].strip():
        called = f" ({value[3:]})" if value[3:] else ""
        return f"{translate(INPUTS[value[0]])} {value[1]}{called}"
    return translate(FACT_VALUES[value]) if value in FACT_VALUES else value


def _step_time(told: str, language: str, translate: Callable[[str], str]) -> str:
    """prepare:120 → Vorbereitung: 0,1 s."""
    step, _, ms = told.partition(":")
    name = translate(words.STEP.get(step, step))
    if not ms.isdecimal():
        return name
    return f"{name}: {duration(int(ms) / 1000, language, translate)}"


def _measure(
    unit: str, name: str, value: float, language: str, translate: Callable[[str], str]
) -> str:
    if unit == "ratio":
        return str(format_percent(value, "#,##0 %", locale=language))
    if unit == "bytes":
        return _bytes(value, language)
    if name == "round_trip_s":
        return f"{_number(value * 1000, language)} ms"
    if name in {"lamp_s", "filter_s"}:  # people count a lamp's life in hours
        return f"{_number(value // 3600, language)} {translate(words.HOURS)}"
    if unit == "s":
        return duration(value, language, translate)
    return f"{_number(value, language)} {UNITS.get(unit, unit)}".rstrip()


def duration(seconds: float, language: str, translate: Callable[[str], str]) -> str:
    """The largest unit that fits, with one digit behind the comma when it is small."""
    for size, word in ((86400, words.DAYS), (3600, words.HOURS), (60, words.MINUTES)):
        if abs(seconds) >= size:
            return f"{_number(seconds / size, language)} {translate(word)}"
    return f"{_number(seconds, language)} s"


def _number(value: float, language: str) -> str:
    value = round(value, 1) + 0.0  # no "-0"
    pattern = "#,##0" if abs(value) >= 100 or value == int(value) else "#,##0.#"
    return str(format_decimal(value, pattern, locale=language))


def _bytes(value: float, language: str) -> str:
    for size, word in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{_number(value / size, language)} {word}"
    return f"{_number(value, language)} B"
