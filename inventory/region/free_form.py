"""Free-form objects (options, steps, expects): whatever JSON can say, within bounds.

Both databases must give back exactly what was put in, so what only one of them could keep is
refused: texts with invisible signs, numbers beyond 2^53, not-a-number.
"""

import json
from typing import Annotated, Any

from pydantic import PlainValidator

from inventory.region.spelling import visible

DEEPEST = 6
LONGEST = 10_000
"""Signs of the whole object, written as JSON."""
LARGEST = 2**53
TOO_LARGE = "holds a number too large to be kept; write it as a text in quotes"


def free_form(value: Any) -> dict[str, Any]:
    """An object from YAML, or JSON text from a sheet's cell. Raises ValueError."""
    if isinstance(value, str):
        value = _parse(value) if value.strip() else {}
    if not isinstance(value, dict):
        raise ValueError('must be an object such as {"version": "3"}')
    bounded: dict[str, Any] = _bounded(value, 1)
    if len(json.dumps(bounded)) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters; shorten it")
    return bounded


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_no_twins, parse_int=_integer)
    except RecursionError:
        raise ValueError(f"is nested deeper than {DEEPEST} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f'is no JSON at character {error.pos + 1}; write an object such as {{"version": "3"}}'
        ) from None


def _integer(digits: str) -> int:
    if len(digits) > len(str(LARGEST)) + 1:
        raise ValueError(TOO_LARGE)
    return int(digits)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("names the same key twice; name each key once")
    return found


def _bounded(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"is nested deeper than {DEEPEST} levels")
    match value:
        case dict():
            return {visible(str(key)): _bounded(item, depth + 1) for key, item in value.items()}
        case list():
            return [_bounded(item, depth + 1) for item in value]
        case str():
            return visible(value)
        case bool() | None:
            return value
        case int() | float() if abs(value) < LARGEST:
            return int(value) if value == int(value) else value
    raise ValueError(TOO_LARGE)


FreeForm = Annotated[dict[str, Any], PlainValidator(free_form)]
"""Plain: pydantic would strip the keys, and two of them could become one."""
