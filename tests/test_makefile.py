"""`make` on a bare machine, by stand-ins for what it calls: it sets up what it may, and says what it may not."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORACLES = ("bench/peers.txt", "tests/oracles/theengs.txt")
TOOLS = ("sh", "rm", "touch", "mkdir", "env", "cat", "chmod", "ln", "true")

STAND_INS = {
    "python3": """
[ "$1 $2" = "-m venv" ] || exit 1
mkdir -p "$3/bin"
if [ -e "$STATE/bare" ]; then  # Debian without python3-venv: leaves an interpreter without pip behind
  printf '#!/bin/sh\\nexit 1\\n' >"$3/bin/python"; chmod +x "$3/bin/python"
  echo "ensurepip is not available"; exit 1
fi
for name in python ruff mypy lint-imports doorchime; do ln -sf "$STATE/bin/in-venv" "$3/bin/$name"; done
""",
    "in-venv": """
case "$*" in
*pytest*) [ ! -e "$STATE/red" ] || exit 3 ;;
"-m venv "*) mkdir -p "$3/bin"; ln -sf "$STATE/bin/in-venv" "$3/bin/python" ;;
esac
""",
    "id": """
[ -e "$STATE/root" ] && echo 0 || echo 1000
""",
    "sudo": """
[ -e "$STATE/sudoer" ] || { echo "sudo: a password is required" >&2; exit 1; }
[ "$1" != -n ] || shift
exec "$@"
""",
    "apt-get": """
[ ! -e "$STATE/offline" ] || exit 100
case "$*" in
*install*python3-venv*) rm -f "$STATE/bare" ;;
*install*mosquitto*) ln -s "$STATE/bin/in-venv" "$STATE/bin/mosquitto"
  ln -s "$STATE/bin/in-venv" "$STATE/bin/dbus-daemon" ;;
esac
""",
}


class Machine:
    """A checkout, and a PATH on which little is real. `facts` are files that the stand-ins look for."""

    def __init__(self, home, *facts):
        self.home, self.state = home / "checkout", home
        (home / "bin").mkdir()
        (self.home / ".ci").mkdir(parents=True)
        for name in ("Makefile", ".ci/debian", "requirements.lock", "pyproject.toml", *ORACLES):
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.home / name)
        for name in TOOLS:
            (home / "bin" / name).symlink_to(shutil.which(name))
        for name, text in STAND_INS.items():
            path = home / "bin" / name
            path.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >>"$STATE/calls"\n{text}')
            path.chmod(0o755)
        for fact in facts:
            (home / fact).touch()

    def make(self, *words, **environment):
        done = subprocess.run(
            [shutil.which("make"), "--no-print-directory", *words, "SBIN="],
            cwd=self.home, env={"PATH": str(self.state / "bin"), "STATE": str(self.state), **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def calls(self, program):
        path = self.state / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix(f"{program} ") for line in lines if line.startswith(f"{program} ")]

    @property
    def tested(self):
        """How pytest was called."""
        (found,) = [line for line in self.calls("python") if "pytest" in line]
        return found


@pytest.fixture
def machine(tmp_path):
    return lambda *facts: Machine(tmp_path, *facts)


def test_the_environment_is_made_once(machine):
    found = machine()
    code, said = found.make("check")
    assert code == 0, said
    installed = [line for line in found.calls("python") if "pip install" in line]
    assert [("--require-hashes" in line, line.split()[-1]) for line in installed] == [
        (True, "requirements.lock"),
        (False, "."),
    ]
    assert found.make("check")[0] == 0
    assert found.calls("python3") == ["-m venv .venv"]
    assert [line for line in found.calls("python") if "pip install" in line] == installed
    assert not found.calls("apt-get")


@pytest.mark.parametrize("left", ["an interpreter without pip", "an empty folder", "a dangling link"])
def test_a_half_made_environment_is_made_anew(machine, left):
    found = machine()
    bin_ = found.home / ".venv" / "bin"
    bin_.mkdir(parents=True)
    match left:
        case "an interpreter without pip":
            (bin_ / "python").write_text("#!/bin/sh\nexit 1\n")
            (bin_ / "python").chmod(0o755)
        case "a dangling link":
            (bin_ / "python").symlink_to("/nowhere/python3.11")
    (found.home / ".venv" / "rubbish").touch()
    code, said = found.make("check")
    assert code == 0, said
    assert not (found.home / ".venv" / "rubbish").exists()
    assert "cannot" not in said


@pytest.mark.parametrize("who", ["root", "sudoer"])
def test_what_debian_must_add_to_python_is_installed_where_we_may(machine, who):
    found = machine("bare", who)
    code, said = found.make("check")
    assert code == 0, said
    assert found.calls("apt-get") == ["-q update", "-q -y --no-install-recommends install python3-venv"]
    assert bool(found.calls("sudo")) == (who == "sudoer")
    assert "missing: python3-venv. Installing" in said


def test_where_we_may_not_install_it_is_named_and_nothing_half_made_stays(machine):
    found = machine("bare")
    code, said = found.make("check")
    assert code != 0
    assert "sudo apt-get install python3-venv" in said
    assert "make PYTHON=" in said
    assert not found.calls("apt-get")
    assert not (found.home / ".venv").exists()


def test_a_system_without_apt_is_told_so(machine):
    found = machine("bare", "root")
    (found.state / "bin" / "apt-get").unlink()
    code, said = found.make("check")
    assert code != 0
    assert "missing: python3-venv. This is no Debian" in said


@pytest.mark.parametrize("who", ["root", "sudoer"])
def test_mosquitto_is_installed_where_we_may_and_then_tested_with(machine, who):
    found = machine(who)
    code, said = found.make("test")
    assert code == 0, said
    assert found.calls("apt-get") == ["-q update", "-q -y --no-install-recommends install mosquitto dbus"]
    assert "not mosquitto" not in found.tested
    assert "LEFT OUT" not in said


def test_where_mosquitto_is_there_nobody_is_asked(machine):
    found = machine("root")
    for name in ("mosquitto", "dbus-daemon"):
        (found.state / "bin" / name).symlink_to(found.state / "bin" / "in-venv")
    code, said = found.make("test", "ARGS=-k radio")
    assert code == 0, said
    assert not found.calls("apt-get")
    assert found.tested.endswith("-k radio")
    assert "not mosquitto" not in found.tested
    assert "LEFT OUT" not in said


@pytest.mark.parametrize("facts", [(), ("root", "offline"), ("red",)], ids=["no right", "no network", "a test fails"])
def test_without_mosquitto_its_tests_are_left_out_loudly_first_and_last(machine, facts):
    found = machine(*facts)
    code, said = found.make("test")
    assert (code != 0) == ("red" in facts), "whatever the tests say"
    assert "-m not mosquitto and not dbus and not long" in found.tested
    told = [line for line in said.splitlines() if "LEFT OUT" in line]
    assert len(told) == 2
    assert "sudo apt-get install mosquitto dbus" in told[0]


def test_in_ci_nothing_is_left_out(machine):
    found = machine()
    (found.state / "bin" / "c++").symlink_to(found.state / "bin" / "in-venv")
    code, said = found.make("test", CI="true")
    assert code == 0, said
    assert "not mosquitto" not in found.tested
    assert "LEFT OUT" not in said
