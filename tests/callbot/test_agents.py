"""The agents file: what is delivered, what is inherited, and how a mistake is named."""

import re
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.agents import Agents, fill, placeholders
from callbot.agents_file import TOOLS
from callbot.errors import ConfigError, RefusedError

LINES = [
    "greeting",
    "closing",
    "apology",
    "repeat_please",
    "resume",
    "time_warning",
    "time_up",
    "voicemail",
    "transfer_line",
    "transfer_failed",
]
# A file without a mistake: line 1 the default, 3 to 16 what all inherit, 18 onwards the agents.
GOOD = "\n".join(
    [
        'default = "taro"',
        "[defaults]",
        *(f'{line} = "はい。"' for line in LINES),
        'fillers = ["ええと"]',
        'idle_prompts = ["もしもし"]',
        'voice = "Polly.Takumi-Neural"',
        'language = "ja-JP"',
        "",
        "[agents.taro]",
        'prompt = """',
        "engine = not a key, but a line of the prompt",
        '"""',
        "[agents.hanako]",
        'prompt = "あなたは花子です。"',
        'numbers = ["+815012345678"]',
        "idle_seconds = 30",
        "",
    ]
)


def load(tmp_path: Path, text: str) -> Agents:
    path = tmp_path / "agents.toml"
    path.write_text(text, encoding="utf-8")
    return Agents.load(path)


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    return str(error.value)


def test_the_delivered_agents_are_the_two_personas() -> None:
    agents = Agents.load()
    assert agents.names == ("takumi", "support")
    assert agents.default.name == "takumi"
    takumi, support = agents.named("takumi"), agents.named("support")
    assert (takumi.voice, takumi.tools, takumi.engine) == ("Polly.Takumi-Neural", ("end_call",), None)
    assert "たくみ" in takumi.greeting
    assert (support.tools, support.engine, list(support.transfers)) == (TOOLS, None, ["operator"])
    assert phonenumbers.is_valid_number(phonenumbers.parse(support.transfers["operator"], None))


def test_the_delivered_prompts_know_the_telephone_and_their_tools() -> None:
    for name in Agents.load().names:
        agent = Agents.load().named(name)
        assert "電話" in agent.prompt
        assert "AI" in agent.prompt
        for tool in TOOLS:
            assert (tool in agent.prompt) == (tool in agent.tools)
        for line in (
            agent.greeting,
            agent.closing,
            agent.apology,
            agent.connecting,
            *agent.fillers,
            *agent.idle_prompts,
        ):
            assert re.search("[ぁ-ん]", line)
            assert not placeholders(line)


def test_an_agent_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    agents = load(tmp_path, GOOD)
    taro, hanako = agents.named("taro"), agents.named("hanako")
    assert (taro.idle_seconds, hanako.idle_seconds) == (12, 30)
    assert taro.greeting == hanako.greeting == "はい。"
    assert (taro.fillers, taro.transfers, taro.record) == (("ええと",), {}, False)


def test_the_number_called_chooses_the_agent(tmp_path: Path) -> None:
    agents = load(tmp_path, GOOD)
    assert agents.for_number("+815012345678").name == "hanako"
    assert agents.for_number("+81312345678").name == "taro"
    assert agents.for_number("anonymous").name == "taro"


def test_an_unknown_agent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="taro, hanako"):
        load(tmp_path, GOOD).named("jiro")


HANAKO = 'prompt = "あなたは花子です。"'


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('voice = "Polly', 'voice = Polly"', 15, "Invalid value"),
        ("[agents.hanako]", "[agents.taro]", 22, "Cannot declare"),
        ('default = "taro"', 'default = "jiro"', 1, "default: there is no agent 'jiro'"),
        ('default = "taro"', "", 1, "default: missing"),
        ('default = "taro"', 'default = "taro"\ncolour = 1', 2, "colour: unknown key"),
        (HANAKO, "", 22, "agents.hanako.prompt: missing"),
        (HANAKO, 'prompt = "  "', 23, "agents.hanako.prompt: must not be empty"),
        (HANAKO, HANAKO + '\nmood = "good"', 24, "agents.hanako.mood: unknown key"),
        (HANAKO, HANAKO + '\n"mood" = "good"', 24, "agents.hanako.mood: unknown key"),
        (HANAKO, HANAKO + "\nengine = 'whisper'", 24, "agents.hanako.engine: must be one of amivoice, realtime"),
        (HANAKO, HANAKO + "\nvoice = 7", 24, "agents.hanako.voice: must be a text, not a number"),
        (HANAKO, HANAKO + "\nrecord = 'yes'", 24, "agents.hanako.record: must be true or false, not a text"),
        (HANAKO, HANAKO + "\nfillers = []", 24, "agents.hanako.fillers: must not be empty"),
        (HANAKO, HANAKO + "\nfillers = 'ええ'", 24, "agents.hanako.fillers: must be a list, not a text"),
        (HANAKO, HANAKO + "\nidle_prompts = ['a', 2026-11-21]", 24, "idle_prompts: must be a text, not a date or time"),
        (HANAKO, HANAKO + f"\ngreeting = '{'あ' * 3001}'", 24, "must be at most 3000 characters long, not 3001"),
        (HANAKO, HANAKO + "\nmax_duration_seconds = 3301", 24, "max_duration_seconds: must be 30 to 3300, not 3301"),
        (HANAKO, HANAKO + "\nmax_duration_seconds = true", 24, "must be a whole number, not true or false"),
        ("idle_seconds = 30", "idle_seconds = 2", 25, "agents.hanako.idle_seconds: must be 3 to 120, not 2"),
        ("idle_seconds = 30", "tools = ['dial']", 25, "agents.hanako.tools: must be one of end_call, transfer_call"),
        ("idle_seconds = 30", "tools = ['transfer_call']", 25, "tools: transfer_call needs at least one number"),
        ("idle_seconds = 30", "transfers = {desk = '03-1234'}", 25, "agents.hanako.transfers: must be a valid number"),
        ("idle_seconds = 30", "[agents.hanako.transfers]\ndesk = '+8190'", 25, "transfers: must be a valid number"),
        ("idle_seconds = 30", "transfers.'the desk' = '+81312345678'", 25, "transfers: 'the desk' is no name"),
        ("[agents.hanako]", "engine = 'x'\n[agents.hanako]", 22, "agents.taro.engine: must be one of"),
        ("idle_seconds = 30", "transfers.desk = 7", 25, "agents.hanako.transfers: must be a valid number"),
        ("+815012345678", "+81 50-1234-5678", 24, "agents.hanako.numbers: must be a valid number in E.164 form"),
        ("+815012345678", "+811", 24, "agents.hanako.numbers: must be a valid number in E.164 form"),
        ('voice = "Polly.Takumi-Neural"', "voice = []", 15, "defaults.voice: must be a text, not a list"),
        ('language = "ja-JP"', "", 22, "agents.hanako.language: missing"),
        ('language = "ja-JP"', "language = 'ja-JP'\nnumbers = []", 17, "defaults.numbers: belongs to one agent"),
        ("[agents.hanako]", "[agents.'花 子']", 22, "agents.花 子: a name is 1 to 64 letters"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_field(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    text = complaint(tmp_path, GOOD.replace(old, new, 1))
    assert f"agents.toml:{line}: " in text
    assert said in text


def test_all_mistakes_are_named_at_once_and_in_order(tmp_path: Path) -> None:
    wrong = GOOD.replace("idle_seconds = 30", "idle_seconds = 0\nx = 1").replace('default = "taro"', 'default = "y"')
    assert [line.split(": ")[:2] for line in complaint(tmp_path, wrong).splitlines()[1:]] == [
        ["  agents.toml:1", "default"],
        ["  agents.toml:25", "agents.hanako.idle_seconds"],
        ["  agents.toml:26", "agents.hanako.x"],
    ]


def test_a_mistake_in_what_all_inherit_is_named_once(tmp_path: Path) -> None:
    assert complaint(tmp_path, GOOD.replace('greeting = "はい。"', "greeting = 1")).count("greeting") == 1


def test_two_agents_cannot_answer_one_number(tmp_path: Path) -> None:
    both = GOOD.replace("[agents.taro]", '[agents.taro]\nnumbers = ["+815012345678"]')
    assert "agents.toml:25: agents.hanako.numbers: +815012345678 is answered by 'taro' already" in complaint(
        tmp_path, both
    )


@pytest.mark.parametrize(
    "text", ["", "agents = 1", "[agents]", "[agents]\ntaro = 1", "defaults = 1", "a = " + "9" * 5000]
)
def test_a_file_without_agents_is_refused(tmp_path: Path, text: str) -> None:
    assert "agents.toml:" in complaint(tmp_path, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read"):
        Agents.load(tmp_path / "nothing.toml")
    (tmp_path / "latin.toml").write_bytes(b'default = "\xe9"')
    with pytest.raises(ConfigError, match=r"latin\.toml cannot be read"):
        Agents.load(tmp_path / "latin.toml")


@given(data=st.data())
def test_whatever_is_in_the_file_only_our_own_error_comes_of_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = GOOD.split("\n")
    n = data.draw(st.integers(0, len(lines) - 1))
    junk = st.text(st.characters(codec="utf-8")) | st.sampled_from(
        ["[agents]", "[[agents.taro]]", "agents.x = 1", "a.b.c = {}", "'''"]
    )
    lines[n] = data.draw(junk)
    try:
        load(tmp_path_factory.getbasetemp(), "\n".join(lines))
    except ConfigError as error:
        assert re.search(r"agents\.toml", str(error))  # noqa: PT017 -- most files are refused, a few are not


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{name}様", "山田様"),
        ("{{name}}様", "山田様"),
        ("{name}{name}{{name}}", "山田山田山田"),
        ("{other}様", "様"),
        ("{name.__class__} {name[0]} {0} {} {name!r} { name }", "{name.__class__} {name[0]} {0} {} {name!r} { name }"),
        ("{{name}", "{山田"),
        ("{braces}", "{name}"),
        ('{"a": 1}', '{"a": 1}'),
        ("$name ${name} %s", "$name $山田 %s"),
    ],
)
def test_placeholders_are_filled_by_name_and_nothing_else(text: str, filled: str) -> None:
    assert fill(text, {"name": "山田", "braces": "{name}"}) == filled


def test_a_text_says_which_variables_it_needs() -> None:
    assert placeholders("{name}様、{{time}}に{name}") == {"name", "time"}
    assert placeholders('{} {0} {a.b} {"a": 1}') == set()


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_filling_never_fails_and_leaves_no_placeholder_of_the_text(text: str, variables: dict[str, str]) -> None:
    filled = fill(text, dict.fromkeys(variables, ""))
    assert len(filled) <= len(text)
    assert fill(text, dict.fromkeys(placeholders(text), "あ")).count("あ") >= len(placeholders(text))
