"""The page about the fake is true: its examples run, and nothing public is missing."""

import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from simulators.bluez import Behaviour, FakeBlueZ, Heal
from simulators.bluez.script import VERBS, read

PAGE = Path(__file__).resolve().parents[3] / "docs" / "bluez-simulator.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_tests_on_the_page_pass(tmp_path):
    (code,) = blocks("python")
    (tmp_path / "test_page.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", str(tmp_path / "test_page.py")]
    done = subprocess.run(command, cwd=PAGE.parent.parent, capture_output=True, text=True, timeout=120, check=False)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_script_on_the_page_can_be_read():
    (script,) = blocks("json")
    assert len(list(read(script.splitlines()))) == 5


def test_everything_public_is_on_the_page():
    page = PAGE.read_text("utf-8")
    public = {name for name, _ in inspect.getmembers(FakeBlueZ) if not name.startswith("_")}
    assert public >= set(VERBS)
    assert not [name for name in public if not re.search(rf"\b{name}\b", page)]
    assert not [field.name for field in fields(Behaviour) if f"`{field.name}`" not in page]
    assert not [heal.name for heal in Heal if heal.name not in page]
