"""What the documentation says is true: tables, links, commands, examples.

A table between `<!-- name -->` markers is rendered from the code; where it differs, the failure shows the right text.
"""

import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic_core import PydanticUndefined

from edge.config import LIVE, EdgeConfig
from hub.api.problems import STATUS
from hub.config import HubConfig
from hub.core.offers import read_body
from hub.core.states import Purpose
from hub.stores.schema import DAY_MS, HOUR_MS, TABLES, YEAR_MS
from wire import curve, ibeacon, rotating_id, topics
from wire.messages import BeaconKey, ConfigAck

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIG = ROOT / "firmware_config"

PLAIN = {
    "profile": "that you exist: language and time zone",
    "identity": "your beacon and loyalty number, scrambled",
    "device": "your phone: how to reach it",
    "consent_event": "each time you agreed or refused, and to which text",
    "consent": "what you agree to now",
    "visit": "when you were in which shop",
    "zone_stay": "in which part of the shop, and when",
    "decision": "which offers were considered for you, and why",
    "offer_grant": "offers made to you",
    "push": "messages sent to you",
    "redemption": "what the till took off, and when",
    "quarantine": "radio events that could not be read",
    "api_key": "the key of your phone",
    "reply": "answers to your phone, for repeats",
    "foreign_track": "that a receiver of another make hears you now",
}
"""What a table holds, in a shopper's words."""

ERASED = {
    "delete": "deleted",
    "pseudonymise": "kept without your name",
    "searched": "deleted where it can be you",
    "none": "gone by itself",
}


def text_of(name):
    return (ROOT / name).read_text("utf-8")


def between(text, marker):
    """What stands between `<!-- marker -->` and `<!-- /marker -->`."""
    found = re.search(rf"<!-- {marker} -->\n(.*?)<!-- /{marker} -->", text, re.DOTALL)
    assert found, f"the marker <!-- {marker} --> is missing"
    return found[1]


def fenced(text, language="json"):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


# -- tables rendered from the code ---------------------------------------------------------------------------------


def settings_table(settings):
    rows = ["", "| setting | default | meaning |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            shown = "required"
        elif default is None:
            shown = "none"
        else:
            shown = f"`{default if isinstance(default, str | Path) else json.dumps(default)}`"
        rows.append(f"| `{name}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n\n"


def spelled(keep_ms):
    for unit_ms, unit in ((YEAR_MS, "years"), (DAY_MS, "days"), (HOUR_MS, "hours")):
        if keep_ms % unit_ms == 0 and keep_ms > unit_ms:
            return f"{keep_ms // unit_ms} {unit}"
    return f"{keep_ms // HOUR_MS} hours"


def retention_table():
    rows = ["", "| what | how long | when you are forgotten | why |", "|---|---|---|---|"]
    for table in TABLES:
        if table.erasure.how == "none" and table.name not in PLAIN:
            continue
        rule = table.retention
        if rule.column is None:
            kept = "while you take part"
        else:
            (column,) = (one for one in table.columns if one.name == rule.column)
            kept = ("while in use, then " if column.nullable else "") + spelled(rule.keep_ms)
        rows.append(f"| {PLAIN[table.name]} | {kept} | {ERASED[table.erasure.how]} | {rule.why} |")
    return "\n".join(rows) + "\n\n"


def check_table(page, marker, right):
    assert between(text_of(page), marker) == right, f"{page}, <!-- {marker} --> must read:\n{right}"


def test_the_readme_lists_every_setting_of_the_hub():
    check_table("README.md", "settings:hub", settings_table(HubConfig))


def test_the_readme_lists_every_setting_of_the_edge():
    check_table("README.md", "settings:edge", settings_table(EdgeConfig))


def test_the_shopper_is_told_of_every_table():
    check_table("docs/shopper.md", "retention", retention_table())


# -- links, paths, style -------------------------------------------------------------------------------------------


def anchors(text):
    """Anchors of the headings, as they are made on common forges."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        assert "://" not in target, f"{target}: pages stand by themselves"
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(path.read_text("utf-8")), f"{page.name}: no heading for {target}"


def test_every_file_of_the_change_table_exists():
    section = text_of("README.md").split("## Where do I change", 1)[1].split("\n## ", 1)[0]
    paths = re.findall(r"`([\w./-]+(?:/|\.\w+))`", section)
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page):
    lines = page.read_text("utf-8").splitlines()
    long = [n for n, line in enumerate(lines, 1) if len(line) > 120 and not line.startswith("|")]
    assert not long, f"{page.name}: lines over 120 characters: {long}"


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 220


# -- commands ------------------------------------------------------------------------------------------------------

PROGRAMS = {
    "hub": "hub.main.cli:app",
    "edge": "edge.main:app",
    "sim": "simulators.main:app",
    "demo": "simulators.demo:demo",
}
COMMAND = re.compile(r"(?<![/\w.-])doorchime (hub|edge|sim|demo)\b((?: +(?!doorchime\b)[^\s`|>&;]+)*)")


@cache
def command_of(program):
    module, _, name = PROGRAMS[program].partition(":")
    found = getattr(import_module(module), name)
    if not isinstance(found, typer.Typer):
        wrapped = typer.Typer()
        wrapped.command()(found)
        found = wrapped
    return typer.main.get_command(found)


def check_command(line, program, words):
    command, rest = command_of(program), words.split()
    while getattr(command, "commands", None):
        assert set(rest[:1]) & command.commands.keys(), f"{line}: choose one of {sorted(command.commands)}"
        command = command.commands[rest.pop(0)]
    options = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    given = {word.split("=")[0] for word in rest if word.startswith("--")}
    assert given <= options, f"{line}: no option {sorted(given - options)}"


def test_every_command_that_is_quoted_exists():
    quoted = []
    for page in [*PAGES, *CONFIG.iterdir()]:
        if page.is_file():
            text = page.read_text("utf-8")
            blocks = re.findall(r"^```.*?^```|^ExecStart=[^\n]*", text, re.DOTALL | re.MULTILINE)
            code = "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])
            quoted += [(match[0], match[1], match[2]) for match in COMMAND.finditer(code)]
    assert len(quoted) > 20
    for line, program, words in quoted:
        check_command(line, program, words)


def test_the_check_of_commands_finds_mistakes():
    with pytest.raises(AssertionError, match="choose one of"):
        check_command("doorchime hub destroy", "hub", " destroy")
    with pytest.raises(AssertionError, match="no option"):
        check_command("doorchime hub serve --fast", "hub", " serve --fast")


# -- examples ------------------------------------------------------------------------------------------------------


def test_every_golden_example_is_named():
    protocol = text_of("docs/protocol.md")
    examples = [path.name for path in (ROOT / "wire" / "examples").iterdir()]
    assert examples
    assert not [name for name in examples if f"`{name}`" not in protocol]


def test_every_topic_is_documented():
    protocol = text_of("docs/protocol.md")
    spelled_out = re.findall(r"^    (doorchime/v1/\S+)", topics.__doc__, re.MULTILINE)
    assert len(spelled_out) == 10
    assert not [topic for topic in spelled_out if f"`{topic}`" not in protocol]
    assert f"partition `{topics.partition('vienna-1')}`" in protocol


def test_the_answers_to_a_configuration_are_those_an_edge_gives():
    section = text_of("docs/protocol.md").split("### config\n", 1)[1].split("\n### ", 1)[0]
    told = " ".join(section.split())
    assert not [name for name in LIVE if f"`{name}`" not in told]
    sent = set(re.findall(r'outcome="([a-z_]+)"', (ROOT / "edge/agent.py").read_text("utf-8")))
    answers, reserved = told.split("The edge answers", 1)[1].split("Reserved", 1)
    assert set(re.findall(r"`([a-z_]+)`", answers)) == sent
    on_the_wire = set(get_args(ConfigAck.model_fields["outcome"].annotation))
    assert set(re.findall(r"`([a-z_]+)`", reserved)) == on_the_wire - sent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_json_parses(page):
    for block in fenced(page.read_text("utf-8")):
        try:
            json.loads(block)
        except json.JSONDecodeError:
            for line in block.splitlines():  # JSON lines
                json.loads(line)


def test_offers_can_be_published_as_printed():
    blocks = re.findall(r"<!-- offer -->\n```json\n(.*?)```", text_of("docs/crm.md"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        offer = json.loads(block)
        assert offer.keys() == {"state", "body"}
        read_body(offer["body"])


def test_the_worked_curve_is_right():
    page = text_of("docs/protocol.md")
    described = json.loads(re.search(r"<!-- curve:example -->\n```json\n(.*?)```", page, re.DOTALL)[1])
    assert described == json.loads((ROOT / "wire/examples/v1-push.json").read_text("utf-8"))["curve"]
    drawn = curve.read_curve(described)
    rows = re.findall(r"^\| (\d+) \| .* \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) == 8
    assert [(int(age), int(value)) for age, value in rows] == [
        (int(age), curve.value_bp(drawn, int(age))) for age, _ in rows
    ]
    assert int(rows[-1][0]) == curve.end_ms(drawn)


def test_the_vector_of_rotating_identity_is_right():
    block = re.search(r"<!-- vector:derived -->\n```json\n(.*?)```", text_of("docs/protocol.md"), re.DOTALL)[1]
    vector = json.loads(block)
    window = rotating_id.window_at(vector["unix_s"])
    key = rotating_id.day_key(bytes.fromhex(vector["root"]), window)
    assert (window, key.hex()) == (vector["window"], vector["day_key"])
    assert rotating_id.derived_id(key, window).hex() == vector["ephemeral"]


def test_the_recorded_frame_is_the_enrolled_tag():
    page = text_of("docs/ci.md")
    tag = BeaconKey(**json.loads(re.search(r'"beacon": (\{.*?\})', page)[1]))
    heard = ibeacon.decode(bytes.fromhex(re.search(r'"adv": "1aff4c00([0-9a-f]+)"', page)[1]))
    assert (ibeacon.format_uuid(heard.uuid), heard.major, heard.minor) == (tag.uuid, tag.major, tag.minor)


def test_the_discount_of_the_till_example_is_right():
    page = text_of("docs/pos.md")
    basket = int(re.search(r'"basket_minor": (\d+)', page)[1])
    answer = json.loads(fenced(page)[0])
    assert answer["discount_minor"] == -(-basket * answer["value_bp"] // 10_000)


def test_every_refusal_of_the_till_is_documented():
    page = text_of("docs/pos.md")
    rows = {word: int(status) for status, word in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page, re.MULTILINE)}
    others = {"unknown_store", "unknown_zone", "not_found", "already_enrolled", "idempotency_in_use", "bad_request",
              "source_taken", "reserved_name", "wrong_name", "unknown_claim", "claim_used", "claim_expired",
              "no_authority"}  # fmt: skip
    assert rows == {word: status for word, status in STATUS.items() if word not in others}


def test_every_purpose_and_reason_is_documented():
    page = text_of("docs/design.md")
    assert not [purpose.value for purpose in Purpose if f"`{purpose.value}`" not in page]
    source = (ROOT / "hub/core/decision.py").read_text("utf-8")
    reasons = set(re.findall(r'return "([a-z_]+(?::[a-z_]+)?)"', source))
    assert len(reasons) >= 7
    assert not [reason for reason in reasons if f"`{reason}`" not in page]
