"""Device models as data: which OID tells which fact, and how a device is recognised.

A profile is a TOML file in `agents/profiles/`. A fact has one or several sources, the first that
yields a value wins. See `agents/profiles/README.md` for the words.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from agents.facts import FACTS
from agents.snmp.message import Oid, oid

FOLDER = Path(__file__).parents[1] / "profiles"
FALLBACK = "generic"


class ProfileError(ValueError):
    """A profile that cannot be used: which file, which field and why."""


def _oid(text: str) -> str:
    oid(text)
    return text


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


OidText = Annotated[str, AfterValidator(_oid)]
Regex = Annotated[str, AfterValidator(_regex)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Where(_Strict):
    """Keeps the rows whose value in `column` (same index) fits every condition given here."""

    column: OidText
    one_of: tuple[str, ...] = ()
    matches: Regex | None = None
    between: tuple[float, float] | None = None


class Term(_Strict):
    """One number or text: a scalar (`oid`), or a table's `column` brought to one value."""

    oid: OidText | None = None
    column: OidText | None = None
    where: tuple[Where, ...] = ()
    named: Regex | None = None
    """Keeps the rows whose index, read as a text, matches: extends are named this way."""
    times: OidText | None = None
    """Another column, multiplied row by row."""
    over: OidText | None = None
    """Another column, divided by row by row; rows where it is not above zero are left out."""
    label: OidText | None = None
    """A column of names, for the aggregate `list`: rows of one name are added up."""
    aggregate: Literal["first", "sum", "max", "min", "mean", "count", "worst", "only", "list"] = (
        "first"
    )
    type: Literal["number", "text", "mac", "channel", "channel_6g"] | None = None
    """Default: text for labels, number for all else. `channel` also reads a frequency in MHz,
    `channel_6g` takes nothing but one of the 6 GHz band."""
    pattern: Regex | None = None
    """The first group (or the whole match) is the value."""
    sentinels: tuple[float, ...] = ()
    """Raw numbers that mean 'unknown'."""
    scale: float = 1.0
    offset: float = 0.0
    range: tuple[float, float] | None = None
    """Outside of it a number is no measurement. Default: what the fact's unit allows."""
    map: dict[str, bool | str] | None = None
    """Raw value → word; a value that is not listed is unknown."""
    bits: tuple[int, ...] = ()
    """True when any of these bits is set, counted from the first octet's highest."""

    @model_validator(mode="after")
    def _one_place(self) -> "Term":
        if (self.oid is None) == (self.column is None):
            raise ValueError("give either 'oid' or 'column'")
        if self.oid is not None and (self.where or self.named or self.times or self.over):
            raise ValueError("'where', 'named', 'times' and 'over' belong to a 'column'")
        if (self.aggregate == "list") != (self.label is not None):
            raise ValueError("'label' and the aggregate 'list' belong together")
        return self

    def places(self) -> tuple[set[Oid], set[Oid]]:
        """(scalars, columns) to read."""
        if self.oid is not None:
            return {oid(self.oid)}, set()
        others = (self.times, self.over, self.label)
        names = [self.column, *others, *(w.column for w in self.where)]
        return set(), {oid(name) for name in names if name}


class Source(Term):
    """A term, less others, over another: (term - minus) / per, or 1 minus that."""

    minus: tuple[Term, ...] = ()
    per: Term | None = None
    complement: bool = False

    @cached_property
    def needs(self) -> tuple[frozenset[Oid], frozenset[Oid]]:
        scalars, columns = self.places()
        for term in (*self.minus, *([self.per] if self.per else [])):
            more_scalars, more_columns = term.places()
            scalars |= more_scalars
            columns |= more_columns
        return frozenset(scalars), frozenset(columns)


class Action(_Strict):
    """Something that may be set on this device: one `oid`, or a `column`'s rows chosen by `where`.

    With `undo` it is set, after `pause_s` set back, and read each time; without, it is sent once.
    """

    oid: OidText | None = None
    column: OidText | None = None
    where: tuple[Where, ...] = ()
    value: int | str
    undo: int | None = None
    pause_s: float = 3.0

    @model_validator(mode="after")
    def _makes_sense(self) -> "Action":
        if (self.oid is None) == (self.column is None):
            raise ValueError("give either 'oid' or 'column'")
        if self.column is not None and self.undo is None:
            raise ValueError("a column needs 'undo'")
        if self.undo is not None and not isinstance(self.value, int):
            raise ValueError("only a number can be undone")
        if any(not one.one_of or one.matches or one.between for one in self.where):
            raise ValueError("'where' of an action knows 'one_of' only")
        return self

    def sent(self) -> int | bytes:
        return self.value if isinstance(self.value, int) else self.value.encode()


class Probe(_Strict):
    """One more question, asked only while a device is being recognised."""

    oid: OidText
    matches: Regex = ""


class Rule(_Strict):
    """How a device is recognised; all that is given must hold."""

    sys_object_id: tuple[OidText, ...] = ()
    """Any of these prefixes."""
    sys_descr: Regex | None = None
    probe: Probe | None = None

    @model_validator(mode="after")
    def _some_condition(self) -> "Rule":
        if not self.sys_object_id and self.sys_descr is None and self.probe is None:
            raise ValueError("a rule without any condition would match every device")
        return self

    def fits(self, sys_object_id: str, sys_descr: str) -> int:
        """How specific the fit is, 0 for none; the probe is still to be asked."""
        depth = max((_depth(prefix, sys_object_id) for prefix in self.sys_object_id), default=0)
        if self.sys_object_id and not depth:
            return 0
        if self.sys_descr is not None and not re.search(self.sys_descr, sys_descr):
            return 0
        return 1 + depth + (40 if self.sys_descr is not None else 0)


class AccessPoints(_Strict):
    """A controller's access points, each of which may be a device of its own.

    In these facts and in `up` an `oid` or `column` goes without the access point's part of the
    index: the driver puts it behind.
    """

    name: OidText
    """A column with a row for each: its name."""
    mac: OidText | None = None
    """A column of the same table that tells the address, where the index does not begin with it."""
    up: Source
    """True: the controller has it connected. Silence: it does not know it."""
    facts: dict[str, tuple[Source, ...]]

    @model_validator(mode="before")
    @classmethod
    def _single_sources(cls, data: Any) -> Any:
        return _with_lists(data)

    @model_validator(mode="after")
    def _known_facts(self) -> "AccessPoints":
        _check_names(self.facts)
        return self


class Profile(_Strict):
    """One device model or family."""

    inherits: tuple[str, ...] = ()
    vendor: str = ""
    rank: int = 100
    """Higher ranks are tried first: models 100, standards 50, operating systems 10."""
    match: tuple[Rule, ...] = ()
    drop: tuple[str, ...] = ()
    """Inherited facts that this device tells wrongly."""
    facts: dict[str, tuple[Source, ...]] = {}
    access_points: AccessPoints | None = None
    actions: dict[Literal["kick", "restart"], Action] = {}
    """What may be done to it; nothing, unless somebody has written it down."""
    stations: OidText | None = None
    """A column with a row for each Wi-Fi station, whose value is its MAC address."""

    @model_validator(mode="before")
    @classmethod
    def _single_sources(cls, data: Any) -> Any:
        return _with_lists(data)

    @model_validator(mode="after")
    def _known_facts(self) -> "Profile":
        _check_names((*self.facts, *self.drop))
        return self


Profiles = Mapping[str, Profile]


def _with_lists(data: Any) -> Any:
    """A single source may stand without a list around it."""
    facts = data.get("facts") if isinstance(data, dict) else None
    if not isinstance(facts, dict):
        return data
    return {**data, "facts": {k: [v] if isinstance(v, dict) else v for k, v in facts.items()}}


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name not in FACTS:
            raise ValueError(f"'{name}' is not a fact of agents/facts.py")


def _depth(prefix: str, oid: str) -> int:
    """Length of the prefix when `oid` lies at or below it, else 0."""
    prefix = prefix.strip(".")
    return prefix.count(".") + 1 if f"{oid.strip('.')}.".startswith(f"{prefix}.") else 0


def load(folder: Path = FOLDER, *more: Path) -> Profiles:
    """All profiles, inheritance applied; in a later folder one may replace another of its name.

    Raises ProfileError naming file and field.
    """
    paths = [path for place in (folder, *more) for path in sorted(place.glob("*.toml"))]
    raw = {path.stem: _read(path) for path in paths}
    if FALLBACK not in raw:
        raise ProfileError(f"{folder}: the profile '{FALLBACK}' is missing")
    return {name: _merged(name, raw, ()) for name in raw}


def _read(path: Path) -> Profile:
    try:
        return Profile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path.name}: {error}") from None
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ProfileError(f"{path.name}: " + "; ".join(lines)) from None


def _merged(name: str, raw: Profiles, above: tuple[str, ...]) -> Profile:
    if name in above:
        raise ProfileError(f"{name}.toml: inherits from itself by way of {' → '.join(above)}")
    if name not in raw:
        raise ProfileError(f"{above[-1]}.toml: inherits: there is no profile '{name}'")
    own, facts, actions = raw[name], {}, {}
    for parent in own.inherits:
        merged = _merged(parent, raw, (*above, name))
        facts.update(merged.facts)
        actions.update(merged.actions)
    facts = {key: value for key, value in facts.items() if key not in own.drop} | own.facts
    return own.model_copy(update={"facts": facts, "actions": actions | own.actions})


def candidates(
    profiles: Profiles, sys_object_id: str, sys_descr: str
) -> list[tuple[str, Probe | None]]:
    """Profiles whose rules fit so far, most specific first, with the probe each still needs.

    Ends with the first that needs none: what follows could not win any more.
    """
    fits = []
    for name, profile in profiles.items():
        for rule in profile.match:
            if fit := rule.fits(sys_object_id, sys_descr):
                depth = fit + (20 if rule.probe else 0)
                fits.append((-profile.rank, -depth, name, rule.probe))
    fits.sort(key=lambda found: found[:3])
    certain = next((at for at, found in enumerate(fits) if found[3] is None), len(fits))
    return [(name, probe) for _, _, name, probe in fits[: certain + 1]]
