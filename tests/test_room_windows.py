"""The role for Windows laptops, as far as it can be tested without Windows: its scripts hold
together and use named commands only, and their words are those of the contract."""

import re
from itertools import chain
from pathlib import Path

import pytest
import tree_sitter_powershell
import yaml
from tree_sitter import Language, Node, Parser, Query, QueryCursor

from agents.drivers.ssh import STEPS
from agents.ssh.answers import Health, Verified
from dashboards import reasons

ROOT = Path(__file__).parents[1]
ROLE = ROOT / "ansible" / "roles" / "room_laptop_windows"
SCRIPTS = {path.name: path.read_text() for path in sorted((ROLE / "files").glob("*.ps1"))}
COMMANDS = {
    *("Clear-Variable", "ConvertFrom-Json", "ConvertTo-Json", "Disable-LocalUser"),
    *("Enable-LocalUser", "ForEach-Object", "Get-BitsTransfer", "Get-CimInstance", "Get-Date"),
    *(
        "Get-LocalUser",
        "Get-Service",
        "Invoke-CimMethod",
        "Join-Path",
        "Measure-Object",
        "New-Object",
    ),
    *("Out-Null", "Remove-BitsTransfer", "Remove-CimInstance", "Select-Object", "Set-StrictMode"),
    *("Sort-Object", "Start-Process", "Start-Service", "Start-Sleep", "Stop-Service", "Test-Path"),
    *("Where-Object", "Write-Warning"),
}
PROGRAMS = {"logoff.exe", "netsh.exe", "taskkill.exe"}
AUTOMATIC = {"$_", "$true", "$false", "$null", "$matches", "$psscriptroot", "$pshome"}
POWERSHELL = Language(tree_sitter_powershell.language())
every_script = pytest.mark.parametrize("name", SCRIPTS)


def parsed(name: str) -> Node:
    return Parser(POWERSHELL).parse(SCRIPTS[name].encode()).root_node


def found(kind: str, node: Node) -> list[Node]:
    """All nodes of a kind that the grammar of PowerShell knows."""
    return QueryCursor(Query(POWERSHELL, f"({kind}) @found")).captures(node).get("found", [])


def texts(kind: str, node: Node) -> set[str]:
    return {one.text.decode() for one in found(kind, node) if one.text}


def defined(name: str) -> set[str]:
    return texts("function_name", parsed(name))


def used(name: str) -> set[str]:
    return texts("command_name", parsed(name))


def sources(name: str) -> list[str]:
    return re.findall(r'^\. "\$PSScriptRoot\\(\w+\.ps1)"$', SCRIPTS[name], re.MULTILINE)


@every_script
def test_it_is_powershell(name: str) -> None:
    assert not parsed(name).has_error, texts("ERROR", parsed(name))


@every_script
def test_a_variable_is_set_where_it_is_read(name: str) -> None:
    """In strict mode one that is not ends the script. A block that is kept for later knows nothing
    of the function in which it was written."""
    top = set().union(*(set_at_top(one) for one in (name, *sources(name)))) | AUTOMATIC
    for function in found("function_statement", parsed(name)):
        assert read_in(function) <= set_in(function) | top, texts("function_name", function)
    assert read_in(parsed(name)) <= set_in(parsed(name)) | top
    for block in found("script_block_expression", parsed(name)):
        if "command" not in around(block):  # there it is run at once
            assert read_in(block) <= set_in(block) | AUTOMATIC, block.text


def around(node: Node) -> set[str]:
    """The kinds of what it stands in, up to the function."""
    kinds: set[str] = set()
    while (node := node.parent or node).parent and node.type != "function_statement":
        kinds.add(node.type)
    return kinds


def read_in(node: Node) -> set[str]:
    names = {one.lower() for one in texts("variable", node)}
    return {one for one in names if not one.startswith("$env:")}


def set_in(node: Node) -> set[str]:
    """By parameters, loops and assignments; `$a.b = 1` sets no variable."""
    assigned = [
        side for side in found("left_assignment_expression", node)
        if not found("member_access", side) and not found("element_access", side)
    ]  # fmt: skip
    loops = [loop.named_children[0] for loop in found("foreach_statement", node)]
    return set().union(*map(read_in, [*assigned, *loops, *found("script_parameter", node)]))


def set_at_top(name: str) -> set[str]:
    functions = found("function_statement", parsed(name))
    return set_in(parsed(name)) - set().union(*map(set_in, functions))


@every_script
def test_only_named_commands_are_run(name: str) -> None:
    known = set(chain.from_iterable(defined(one) for one in (name, *sources(name))))
    if name not in ("entry.ps1", "service.ps1"):  # all of them are read into command.ps1
        known |= set(chain.from_iterable(defined(one) for one in sources("command.ps1")))
    assert used(name) - known <= COMMANDS
    for called in re.findall(r"(?:^|[\s(;|{])& +(\S+)", SCRIPTS[name], re.MULTILINE):
        program = re.fullmatch(r'"\$env:SystemRoot\\System32\\([\w.]+)"', called)
        assert (program and program[1] in PROGRAMS) or called == "$What", called
    assert not re.search(
        r"Invoke-Expression|\biex\b|Add-Type|WebClient|DownloadString", SCRIPTS[name]
    )


@every_script
def test_nothing_follows_a_guests_link(name: str) -> None:
    assert not re.search(
        r"Remove-Item|-Recurse|Directory\]::Delete\([^,]+, \$true\)", SCRIPTS[name]
    )


def test_all_scripts_are_installed_and_each_function_has_one_home() -> None:
    tasks = yaml.safe_load((ROLE / "tasks" / "scripts.yml").read_text())
    installed = next(task["loop"] for task in tasks if task["name"] == "Install the scripts")
    assert installed == sorted(SCRIPTS)
    assert set(sources("command.ps1")) == SCRIPTS.keys() - {
        "command.ps1",
        "entry.ps1",
        "service.ps1",
    }
    names = list(chain.from_iterable(defined(one) for one in SCRIPTS))
    assert len(names) == len(set(names))


def test_every_module_is_named_for_those_who_lint_without_it() -> None:
    mocked = set(yaml.safe_load((ROOT / ".ansible-lint").read_text())["mock_modules"])
    text = "".join(path.read_text() for path in (ROLE / "tasks").glob("*.yml"))
    assert set(re.findall(r"(?:ansible|community)\.windows\.\w+", text)) == mocked


@pytest.mark.parametrize("script", ["entry.ps1", "command.ps1"])
def test_what_may_be_asked(script: str) -> None:
    """The regular expressions mean the same to .NET, but for how a group is named."""
    (text,) = re.findall(r"^\$Asked = '(.+)'$", SCRIPTS[script], re.MULTILINE)
    asked = re.compile(text.replace("(?<", "(?P<"))
    for good in ("health", "status", "preflight", "start", "verify 7a.1", "follow r-1.12 40"):
        assert asked.search(good)
    for bad in ("", "start x", "health; calc", "Verify 7a.1", "verify ../x.1", "verify 7a.1 & x"):
        assert not asked.search(bad), bad


def keys(function: str, script: str) -> set[str]:
    body = SCRIPTS[script].split(f"function {function}", 1)[1].split("\nfunction ", 1)[0]
    return set(re.findall(r"^ +(\w+) += ", body, re.MULTILINE))


def test_answers_have_the_words_of_the_contract() -> None:
    health = keys("Get-Health", "looks.ps1") | keys("Get-Power", "looks.ps1")
    assert health - {"v"} <= Health.model_fields.keys()
    assert {"now", "serial", "battery_ratio", "disk_ratio", "reset_id", "used_since"} <= health
    proof = keys("Get-Proof", "looks.ps1")
    needed = {name for name, field in Verified.model_fields.items() if field.is_required()}
    assert needed <= proof
    assert proof - {"v", "asked"} <= Verified.model_fields.keys()


def test_reasons_are_ones_that_the_pages_can_say() -> None:
    text = "".join(SCRIPTS.values())
    told = set(re.findall(r"reason = '(\w+)'", text)) | set(re.findall(r"return '(\w+)'", text))
    told |= set(re.findall(r"Write-Refusal '(\w+)'", text))
    assert {"in_use", "expired", "step_failed", "too_long", "wrong_device"} <= told
    assert told <= set(reasons.DOMAINS["run"])


def test_the_job_is_read_as_the_driver_writes_it() -> None:
    read = keys("ConvertTo-Job", "gates.ps1") | set(
        re.findall(r"Get-Field \$job '(\w+)'", SCRIPTS["gates.ps1"])
    )
    sent = {"reset_id", "serial", "sent_at", "not_before", "not_after", "next_start"}
    assert sent | {"max_runtime_s"} <= read
    assert {"tier", "profile", "on_active_session"} <= STEPS & read


def test_each_place_that_is_counted_is_also_cleaned() -> None:
    body = SCRIPTS["residue.ps1"].split("function Get-Residue", 1)[1]
    counted = set(re.findall(r"^        (\w+) +=", body, re.MULTILINE))
    steps = SCRIPTS["reset.ps1"].split("function Get-Steps", 1)[1].split("\nfunction ", 1)[0]
    cleaned = set(re.findall(r"^        (\w+) += \{", steps, re.MULTILINE))
    assert len(counted) > 6
    assert counted <= cleaned
    assert cleaned - counted == {"lock", "sessions", "unlock"}
    order = re.findall(r"^        (\w+) += \{", steps, re.MULTILINE)
    assert order[:2] == ["lock", "sessions"]
    assert order[-1] == "unlock"
