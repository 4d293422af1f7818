"""How a page is made: template, language, local time, human units."""

import gettext
import hashlib
import logging
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from dashboards import fact_words, reasons, units, words
from dashboards.places import ADDRESSES
from fleet.auth import Action, Visitor

HERE = Path(__file__).parent
STATIC = HERE / "static"
LANGUAGES = ("de", "en")
"""The first one is the language of the source texts, and of everybody who asks for neither."""
BERLIN = ZoneInfo("Europe/Berlin")
COOKIE = "sprache"

log = logging.getLogger(__name__)


def page(
    request: Request,
    template: str,
    *,
    visitor: Visitor | None = None,
    http_status: int = 200,
    here: str = "",
    **context: Any,
) -> HTMLResponse:
    """The answer: a template of `templates/` in the visitor's language. `here`: where it can be
    read again, for an answer to a form that lies elsewhere."""
    language = language_of(request)
    query = f"?{request.url.query}" if request.url.query else ""
    html = (
        environment(language)
        .get_template(template)
        .render(
            now=request.app.state.clock(),
            visitor=visitor,
            Action=Action,
            lang=language,
            path=request.url.path,
            here=here or request.url.path + query,
            **context,
        )
    )
    headers = {"Content-Language": language, "Vary": "Accept-Language, Cookie"}
    return HTMLResponse(html, http_status, headers)


def language_of(request: Request) -> str:
    """The language chosen on the page, else the browser's first that we speak, else German."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    for wish in request.headers.get("accept-language", "").split(","):
        code = wish.partition(";")[0].strip().lower().partition("-")[0]
        if code in LANGUAGES:
            return code
    return LANGUAGES[0]


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The texts of `locale/<language>/LC_MESSAGES/raumwart.po`, compiled in memory."""
    source = HERE / "locale" / language / "LC_MESSAGES" / "raumwart.po"
    compiled = BytesIO()
    with source.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@cache
def environment(language: str) -> Environment:
    """Templates with the texts, dates and numbers of one language."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    texts = translations(language)
    made.install_gettext_translations(texts, newstyle=True)  # type: ignore[attr-defined]
    made.globals.update(
        asset=asset, words=words, fact_words=fact_words, languages=LANGUAGES, further=ADDRESSES
    )
    made.filters.update(_time_filters(language))
    made.filters["number"] = lambda value: format_decimal(value, locale=language)
    made.filters["fact"] = lambda value, name: units.human(name, value, language, texts.gettext)
    made.filters["reason"] = lambda reason: reasons.reason(reason, texts)
    made.filters["cause"] = lambda code: texts.gettext(reasons.CAUSE.get(code) or code)
    made.filters["sentence"] = lambda code, domain: texts.gettext(reasons.sentence(code, domain))
    return made


@cache
def asset(name: str) -> str:
    """The address of a static file, with a piece of its hash so that it can be kept for ever."""
    path = STATIC / name
    if not path.exists():
        log.warning("%s is missing: run `python -m dashboards.vendor`", path)
        return f"/static/{name}"
    return f"/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def refusal(request: Request, code: str) -> str:
    """Why a reset is not begun, in the visitor's language."""
    return translations(language_of(request)).gettext(reasons.sentence(code, "refusal"))


def local(moment: datetime) -> datetime:
    return moment.astimezone(BERLIN)


def local_day(now: datetime) -> tuple[datetime, datetime]:
    """Midnight to midnight of the day that it is in Germany."""
    start = local(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return start, (start + timedelta(days=1))


def month_name(month: date, language: str) -> str:
    """März 2026."""
    return format_date(month, "LLLL yyyy", locale=language)


def _time_filters(language: str) -> dict[str, Callable[..., str]]:
    """`clock` 10:42, `when` morgen, 10:42, `ago` vor 3 Minuten, `soon` in 3 Min., `day` Montag,
    23. November, `iso` for machines."""

    def clock(moment: datetime) -> str:
        return format_time(local(moment), "HH:mm", locale=language)

    @pass_context
    def when(context: Context, moment: datetime) -> str:
        days = (local(moment).date() - local(context["now"]).date()).days
        if days == 0:
            return clock(moment)
        if abs(days) == 1:
            near = format_timedelta(timedelta(days=days), add_direction=True, locale=language)
            near = words.NEAR_DAYS[language].get(days, near)
            return f"{near}, {clock(moment)}"
        pattern = "EEE d. MMM, HH:mm" if language == "de" else "EEE d MMM, HH:mm"
        return format_datetime(local(moment), pattern, locale=language)

    @pass_context
    def ago(context: Context, moment: datetime) -> str:
        """Also of what is to come: "in 3 Minuten"."""
        return format_timedelta(
            moment - context["now"], add_direction=True, threshold=1.2, locale=language
        )

    @pass_context
    def soon(context: Context, moment: datetime) -> str:
        """As `ago`, but short."""
        return format_timedelta(
            moment - context["now"],
            add_direction=True,
            threshold=1.2,
            format="short",
            locale=language,
        )

    def day(moment: datetime) -> str:
        pattern = "EEEE, d. MMMM" if language == "de" else "EEEE, d MMMM"
        return format_date(local(moment).date(), pattern, locale=language)

    def iso(moment: datetime) -> str:
        """For `<time datetime>`."""
        return local(moment).isoformat(timespec="seconds")

    def older(moment: datetime, earlier: str) -> str:
        """How long before the moment that was, as ISO 8601: 3 Minuten."""
        age = moment - datetime.fromisoformat(earlier)
        return format_timedelta(age, threshold=1.2, locale=language)

    def month(day: date) -> str:
        return month_name(day, language)

    more: dict[str, Callable[..., str]] = {"older": older, "month": month}
    return {**more, "clock": clock, "when": when, "ago": ago, "soon": soon, "day": day, "iso": iso}
