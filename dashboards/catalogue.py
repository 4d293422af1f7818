"""Brings the catalogues of texts up to date: `python -m dashboards.catalogue`.

Always the same order, width and head, so that two changes meet only where they touch one text.
"""

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

HERE = Path(__file__).parent
LOCALE = HERE / "locale"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}
WIDTH = 100
HEAD = (
    "Project-Id-Version",
    "Language",
    "Plural-Forms",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
)


def extract() -> Catalog:
    """Every text in the code and the templates that is marked for translation."""
    found = Catalog(charset="utf-8")
    marked = extract_from_dir(
        HERE,
        method_map=METHODS,
        keywords=KEYWORDS,
        directory_filter=lambda folder: "node_modules" not in str(folder),
    )
    for _, _, message, _, _ in marked:
        found.add(message)
    return found


def update(file: Path, texts: Catalog) -> list[str]:
    """Add what is new, drop what is gone, and return what still has no translation."""
    with file.open("rb") as opened:
        catalogue = read_po(opened, locale=file.parts[-3])
    opening = catalogue.header_comment
    catalogue.update(texts, no_fuzzy_matching=True)
    catalogue.header_comment = opening
    catalogue.obsolete.clear()
    head = [(name, value) for name, value in catalogue.mime_headers if name in HEAD]
    body = Catalog(locale=catalogue.locale, header_comment=opening)
    missing = []
    for message in sorted((each for each in catalogue if each.id), key=_place):
        body.add(message.id, message.string, flags=message.flags)
        said = [message.string] if isinstance(message.id, str) else message.string or [""]
        if not all(said):
            missing.append(str(message.id))
    _write(file, body, head, opening)
    return missing


def _place(message: object) -> str:
    name = message.id  # type: ignore[attr-defined]
    return name if isinstance(name, str) else name[0]


def _write(file: Path, body: Catalog, head: list[tuple[str, str]], opening: str) -> None:
    fields = "".join(f'"{name}: {value}\\n"\n' for name, value in head)
    texts = BytesIO()
    write_po(texts, body, width=WIDTH, no_location=True, omit_header=True)
    start = f'{opening}\nmsgid ""\nmsgstr ""\n{fields}\n'.encode()
    file.write_bytes(start + texts.getvalue().rstrip() + b"\n")


def main() -> None:
    texts = extract()
    for file in sorted(LOCALE.glob("*/LC_MESSAGES/raumwart.po")):
        missing = update(file, texts)
        if file.parts[-3] != "de":  # German is the source
            sys.stdout.writelines(f"{file.parts[-3]}: {text}\n" for text in missing)


if __name__ == "__main__":
    main()
