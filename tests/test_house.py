"""House rules, as tests. What a linter already checks (layers, types, banned calls) is left to it."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = ("wire", "edge", "hub", "simulators", "bench")
MAX_LINES = 400

BAD_WORDS = re.compile(r"(^|_)(utils?|helpers?|common|managers?|services?)(_|$)")
CAMEL_WORDS = re.compile(r"(Utils?|Helpers?|Common|Managers?|Services?)(?=[A-Z]|$)")

AT_IMPORT = {
    "hub/stores/sqlite.py": "registers its migrations, which touches nothing outside the module",
    "hub/stores/__init__.py": "PostgreSQL is an optional extra",
}
"""Modules with a loop or a try at top level, and why."""

CLOCK_READERS = {"hub/main/clock.py", "edge/adapters/system.py", "simulators/clock.py", "bench/clock.py"}
"""The only files of the programs that read a clock."""

SQL_HOMES = ("hub/stores/", "edge/adapters/spool", "simulators/chaos/evidence.py", "bench/naive.py")
"""Where SQL may stand; the judge of chaos asks no program, and the benchmarks' rival is naive on purpose."""


def listed():
    """Every file that is, or is about to be, tracked."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:  # an unpacked archive
        skipped = {".venv", "build", "dist", ".git"}
        return [p.relative_to(ROOT) for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.parts)]
    return [Path(line) for line in done.stdout.splitlines() if (ROOT / line).is_file()]


FILES = listed()
SOURCES = [path for path in FILES if path.suffix == ".py"]
OWN = [path for path in SOURCES if path.parts[0] in PROGRAMS or path.name == "doorchime.py"]
TEXTS = [
    path for path in FILES if path.suffix in {".py", ".md", ".toml", ".conf", ".sql", ".json", ".service", ".svg", ""}
]


def text_of(path):
    return (ROOT / path).read_text("utf-8")


@cache
def tree_of(path):
    for again in (True, True, False):
        try:
            return ast.parse(text_of(path), str(path))
        except SystemError:  # CPython 3.11 before .8: what another thread parses meanwhile upsets it (gh-106905)
            if not again:
                raise
    raise AssertionError


def test_there_is_something_to_check():
    assert len(OWN) > 60
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", [*SOURCES, *(p for p in FILES if p.suffix == ".toml")], ids=str)
def test_files_are_short_enough_to_read(path):
    assert len(text_of(path).splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_names_say_what_a_thing_is(path):
    assert not BAD_WORDS.search(path.stem), path
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            assert not BAD_WORDS.search(node.name), node.name
            assert not CAMEL_WORDS.search(node.name), node.name


WORDS = (
    "TO" + "DO",
    "FIX" + "ME",
    "NotImplemented" + "Error",
    "time." + "sleep",
    "mock." + "patch",
    "pytest." + "skip",
)


LEAVES_OUT = {"tests/recordings.py": "what needs recordings by others, with a line that says so"}
"""The one place that may skip a test, and why."""


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_nothing_is_left_for_later_slept_through_patched_or_skipped(path):
    words = WORDS[:-1] if str(path) in LEAVES_OUT else WORDS
    found = [word for word in words if word.replace("_", "") in text_of(path)]
    assert not found
    assert "mark." + "skip" not in text_of(path)
    assert not re.search(r"monkeypatch\.setattr\(\s*[\"']", text_of(path)), "fake the port, not a module path"


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_no_file_knows_the_machine_it_was_written_on(path):
    hosts = ("py" + "pi.org", "python" + "hosted", "/wo" + "rk/", "/ho" + "me/", "../sha" + "red", "/ro" + "ot/")
    assert not [host for host in hosts if host in text_of(path)]


def test_no_key_and_no_certificate_is_kept_with_the_source():
    assert not [path for path in FILES if path.suffix in (".key", ".pem", ".crt", ".p12")]
    marker = "-----BEGIN " + "PRIVATE KEY"
    assert not [path for path in TEXTS if marker in text_of(path)]


def test_the_lock_holds_versions_and_hashes_and_no_address():
    lock = text_of(Path("requirements.lock"))
    assert "://" not in lock
    assert "--hash=sha256:" in lock
    assert "--index" not in lock


@pytest.mark.parametrize("path", OWN, ids=str)
def test_nothing_happens_at_import(path):
    allowed = (
        ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
    )  # fmt: skip
    for node in tree_of(path).body:
        if isinstance(node, allowed):
            continue
        if isinstance(node, ast.Expr) and (isinstance(node.value, ast.Constant) or _registers(node.value)):
            continue  # a docstring, or a command added to a Typer app
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            continue
        assert str(path) in AT_IMPORT, f"{path}:{node.lineno} {ast.unparse(node)[:60]}"


def _registers(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("app.")


@pytest.mark.parametrize("path", [p for p in OWN if p.name != "doorchime.py"], ids=str)
def test_imports_stand_at_the_top(path):
    tree = tree_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            late = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
            assert not late, f"{path}:{late[0].lineno}"


@pytest.mark.parametrize("path", OWN, ids=str)
def test_only_composition_roots_read_a_clock(path):
    if str(path) in CLOCK_READERS:
        return
    assert not re.search(r"\btime\.(time|monotonic|perf_counter|clock_gettime)|datetime\.(utc)?now\(", text_of(path))


PURE = [
    p for p in OWN if p.parts[0] == "wire" or p.parts[:2] in {("hub", "core"), ("hub", "usecases"), ("edge", "core")}
]


@pytest.mark.parametrize("path", PURE, ids=str)
def test_pure_code_does_not_wait(path):
    waits = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert not waits


@pytest.mark.parametrize("path", OWN, ids=str)
def test_sql_lives_with_the_stores(path):
    if str(path).startswith(SQL_HOMES):
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.search(r"\b(SELECT .* FROM|INSERT INTO|DELETE FROM|UPDATE \w+ SET)\b", node.value)


@pytest.mark.parametrize("path", [p for p in OWN if p.parts[:2] in {("hub", "core"), ("edge", "core")}], ids=str)
def test_every_number_with_a_name_says_its_unit_and_its_reason(path):
    lines, body = text_of(path).splitlines(), tree_of(path).body
    for place, node in enumerate(body):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant | ast.UnaryOp):
            continue
        if isinstance(getattr(node.value, "value", 0), str):
            continue
        name = ast.unparse(node.targets[0])
        if not name.isupper():
            continue
        # constants of one kind may share the docstring below the last of them
        after = next((n for n in body[place + 1 :] if not isinstance(n, ast.Assign)), None)
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        assert said or "#" in lines[node.lineno - 1], f"{path}:{node.lineno} {name}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name.startswith("test_")], ids=str)
def test_every_file_of_tests_asserts_something(path):
    assert re.search(r"\bassert\b|raises\(|Contract\)", text_of(path)), "or inherits a contract suite"


def test_every_public_module_says_what_it_is_for():
    for path in OWN:
        assert ast.get_docstring(tree_of(path)), path
