"""What a region file may say, row by row, and how a row becomes columns of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from sqlmodel import SQLModel

from inventory.contact import Audience, Channel, Contact
from inventory.course import CourseKind, Feed
from inventory.device import Device, DeviceKind, Service
from inventory.feed_options import FeedKind, check_options
from inventory.network import Network, SnmpVersion
from inventory.place import Room, Site
from inventory.recipes import usual_recipe
from inventory.region import spelling
from inventory.region.faults import Place, not_known
from inventory.region.free_form import FreeForm
from inventory.reset import Recipe, Tier

NO_RECIPE = "none"
"""In the column `recipe`: this device is never reset."""

DAY_S = 86_400

Line = Annotated[str, AfterValidator(spelling.one_line)]
Slug = Annotated[str, AfterValidator(spelling.slug)]
Named = Annotated[Line, Field(min_length=1, max_length=200)]
Needs = Annotated[
    dict[str, Any],
    BeforeValidator(spelling.needs_of_cell),
    AfterValidator(spelling.needs),
]


def _limits(found: dict[str, Any], info: ValidationInfo, kind: str) -> dict[str, Any]:
    """Name of a threshold → a number. The context's `thresholds`: kind → the names there are."""
    names = (info.context or {}).get("thresholds")
    for name, limit in found.items():
        if names is not None and name not in names.get(kind, ()):
            raise ValueError(not_known(f"threshold of '{kind}'", name, names.get(kind, ())))
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise ValueError(f"'{name}' needs a number")
    return found


def _limits_of_kinds(found: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    for kind, limits in found.items():
        if kind not in set(DeviceKind):
            raise ValueError(not_known("kind", kind, [str(kind) for kind in DeviceKind]))
        if not isinstance(limits, dict):
            raise ValueError(f"'{kind}' needs thresholds with their numbers")
        _limits(limits, info, kind)
    return found


KindLimits = Annotated[FreeForm, AfterValidator(_limits_of_kinds)]


class TierRow(BaseModel):
    """What one tier of a recipe does differently."""

    model_config = ConfigDict(extra="forbid", strict=True)

    steps: dict[str, Any] = {}
    max_runtime_s: Annotated[int, Field(ge=1, le=DAY_S)] = 120
    settle_s: Annotated[int, Field(ge=0, le=3600)] = 0
    noisy: bool = False
    boots: bool = False
    heavy: bool = False
    gap_s: Annotated[int, Field(ge=0, le=7 * DAY_S)] = 0


def _tiers(found: dict[str, Any]) -> dict[str, Any]:
    for name, told in found.items():
        if name not in set(Tier):
            raise ValueError(not_known("tier", name, [str(tier) for tier in Tier]))
        try:
            TierRow.model_validate(told)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            place = ".".join([name, *map(str, wrong["loc"])])
            raise ValueError(f"{place}: {wrong['msg']}") from None
    return found


Tiers = Annotated[FreeForm, AfterValidator(_tiers)]


class Row(BaseModel):
    """One line of a sheet, or one entry of a list in YAML. Unknown columns are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)

    id: Slug


class SiteRow(Row):
    name: Named
    municipality: Named
    phone: Annotated[Line, Field(max_length=50)] = ""
    thresholds: KindLimits = {}


class RoomRow(Row):
    site: Slug
    name: Named
    required: Needs = {}
    quiet: Annotated[Line, AfterValidator(spelling.quiet)] = ""


class NetworkRow(Row):
    site: Slug
    range: Annotated[Line, AfterValidator(spelling.private_range)]
    credential: Annotated[Line, Field(max_length=63)] = ""
    snmp: Annotated[SnmpVersion, BeforeValidator(spelling.word)] = SnmpVersion.V2C


class FeedRow(Row):
    site: Slug
    room: Slug | None = None
    kind: Annotated[FeedKind, BeforeValidator(spelling.word)] = FeedKind.ICS
    url: Annotated[Line, Field(max_length=2000), AfterValidator(spelling.feed_url)]
    credential: Annotated[Line, Field(max_length=63)] = ""
    options: FreeForm = {}
    max_age_s: Annotated[int, Field(ge=60, le=30 * DAY_S)] = 6 * 3600

    @field_validator("url")
    @classmethod
    def _caldav_is_asked_by_http(cls, url: str, info: ValidationInfo) -> str:
        if info.data.get("kind") is FeedKind.CALDAV and not url.startswith("http"):
            raise ValueError("a CalDAV timetable begins with https:// or http://")
        return url

    @field_validator("credential")
    @classmethod
    def _a_file_needs_none(cls, name: str, info: ValidationInfo) -> str:
        if name and info.data.get("url", "").startswith("file:"):
            raise ValueError("a file needs no credential; leave it empty")
        return name

    @field_validator("options")
    @classmethod
    def _known_options(cls, said: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return check_options(info.data["kind"], said) if "kind" in info.data else said


class CourseKindRow(Row):
    site: Slug | None = None
    title: Annotated[Line, Field(min_length=1, max_length=300)]
    profile: Annotated[Line, Field(max_length=63)] = ""
    thresholds: KindLimits = {}


class ContactRow(Row):
    site: Slug
    name: Named
    audience: Annotated[Audience, BeforeValidator(spelling.word)]
    channel: Annotated[Channel, BeforeValidator(spelling.word)]
    address: Annotated[Line, Field(max_length=2000, validate_default=True)] = ""
    credential: Annotated[Line, Field(max_length=63)] = ""
    quiet: Annotated[Line, AfterValidator(spelling.quiet_hours)] = ""

    @field_validator("address")
    @classmethod
    def _reaches_somebody(cls, address: str, info: ValidationInfo) -> str:
        check = {Channel.MAIL: spelling.mail_address, Channel.WEBHOOK: spelling.web_address}
        channel = info.data.get("channel")
        return check[channel](address) if channel in check else address


class RecipeRow(Row):
    name: Named
    steps: FreeForm = {}
    expects: FreeForm = {}
    max_runtime_s: Annotated[int, Field(ge=1, le=DAY_S)] = 120
    lead_s: Annotated[int, Field(ge=1, le=DAY_S)] | None = None
    settle_s: Annotated[int, Field(ge=0, le=3600)] = 0
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    rest: Slug | None = None
    tiers: Tiers = {}

    @field_validator("id")
    @classmethod
    def _not_the_word_for_none(cls, name: str) -> str:
        if name == NO_RECIPE:
            raise ValueError(f"'{NO_RECIPE}' says that a device is never reset; use another")
        return name


class DeviceRow(Row):
    """A device. Validated with `context={"drivers": …}`, the names of the drivers there are;
    `thresholds` as in `_limits`."""

    room: Slug
    name: Named
    kind: Annotated[DeviceKind, BeforeValidator(spelling.word)]
    model: Annotated[Line, Field(max_length=200)] = ""
    serial: Annotated[Line, Field(max_length=100)] = ""
    mac: Annotated[Line, AfterValidator(spelling.mac)] = ""
    driver: Annotated[Line, Field(max_length=32)]
    address: Annotated[Line, Field(max_length=253), AfterValidator(spelling.address)]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    profile: Annotated[Line, Field(max_length=63)] = ""
    credential: Annotated[Line, Field(max_length=63)] = ""
    options: FreeForm = {}
    recipe: Annotated[Line, Field(max_length=63, validate_default=True)] = ""
    uplink: Slug | None = None
    power: Slug | None = None
    thresholds: FreeForm = {}
    spare: Annotated[bool, BeforeValidator(spelling.yes_no)] = False
    service: Annotated[Service, BeforeValidator(spelling.word)] = Service.ACTIVE
    code: Annotated[Line, AfterValidator(spelling.code)] = ""
    note: Annotated[str, Field(max_length=2000), AfterValidator(spelling.visible)] = ""

    @field_validator("driver")
    @classmethod
    def _known_driver(cls, driver: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get("drivers", ())
        if driver not in known:
            raise ValueError(not_known("driver", driver, known))
        return driver

    @field_validator("thresholds")
    @classmethod
    def _known_thresholds(cls, found: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return _limits(found, info, info.data["kind"]) if "kind" in info.data else found

    @field_validator("recipe")
    @classmethod
    def _default_recipe(cls, recipe: str, info: ValidationInfo) -> str:
        if recipe:
            return spelling.slug(recipe)
        if not {"kind", "driver", "options"} <= info.data.keys():
            return ""
        said = info.data["options"]
        if info.data["driver"] == "freekiosk" and not said.get("start_page"):
            raise ValueError(
                "a tablet under FreeKiosk is put back to its start page: write it in options,"
                ' as {"start_page": "https://…"}; or write a recipe here, such as look-only or none'
            )
        return usual_recipe(info.data["kind"], info.data["driver"])


@dataclass(frozen=True)
class Sheet:
    """One kind of thing: its name in files, its row, its table, and what points to what."""

    name: str
    one: str
    row: type[Row]
    table: type[SQLModel]
    points_to: Mapping[str, str] = field(default_factory=dict)
    """Column of the row → the sheet that it names an id of."""

    def column(self, name: str) -> str:
        """The table's column: what points to a room is `room` in files and `room_id` there."""
        return f"{name}_id" if name in self.points_to else name

    def stored(self, row: Row) -> dict[str, Any]:
        """A row as the table's columns."""
        values = row.model_dump()
        if values.get("recipe") == NO_RECIPE:
            values["recipe"] = None
        return {self.column(name): value for name, value in values.items()}

    def shown(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The way back: the table's columns as a file has them."""
        values = {name: stored[self.column(name)] for name in self.row.model_fields}
        if "recipe" in values:
            values["recipe"] = values["recipe"] or NO_RECIPE
        return values


SHEETS = {
    sheet.name: sheet
    for sheet in (
        Sheet("recipes", "recipe", RecipeRow, Recipe, {"rest": "recipes"}),
        Sheet("sites", "site", SiteRow, Site),
        Sheet("networks", "network", NetworkRow, Network, {"site": "sites"}),
        Sheet("rooms", "room", RoomRow, Room, {"site": "sites"}),
        Sheet("contacts", "contact", ContactRow, Contact, {"site": "sites"}),
        Sheet("feeds", "feed", FeedRow, Feed, {"site": "sites", "room": "rooms"}),
        Sheet("course_kinds", "sort of course", CourseKindRow, CourseKind, {"site": "sites"}),
        Sheet(
            "devices",
            "device",
            DeviceRow,
            Device,
            {"room": "rooms", "recipe": "recipes", "uplink": "devices", "power": "devices"},
        ),
    )
}
"""In the order in which they can be put in: nothing points to a later sheet."""


@dataclass(frozen=True)
class Entry:
    """A checked row, the columns that its file has, and where it stands.

    A column that the file does not have leaves a known thing as it is; an empty cell empties it.
    """

    row: Row
    given: frozenset[str]
    place: Place


@dataclass(frozen=True)
class Region:
    """What the files say. A sheet that they do not have is not a key here."""

    entries: Mapping[str, list[Entry]]
    unreadable: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Sheet → ids of rows with faults of their own: what points to them is not a fault too."""
