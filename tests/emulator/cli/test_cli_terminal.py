"""How a conversation looks."""

import io
import json

import pytest
from rich.console import Console

from emulator import terminal
from emulator.terminal import Conversation

REPORT = {"duration": 9.0, "status": "completed", "ended_by": "bot"}


def shown(*events, label=""):
    out = io.StringIO()
    conversation = Conversation(Console(file=out, highlight=False, soft_wrap=True), label)
    for event in events:
        conversation.show(event)
    return [line.split(maxsplit=2) for line in out.getvalue().splitlines()]


def bot_speaks(at, kind="say", text=""):
    return {"event": "BotSpeaks", "at": at, "kind": kind, "text": text}


def bot_finished(at, text, complete=True, kind="say"):
    return {"event": "BotFinished", "at": at, "kind": kind, "text": text, "complete": complete}


def caller(at, text):
    return {"event": "CallerSpeaks", "at": at, "text": text}


def test_each_line_says_when_who_and_what_and_how_long_it_took():
    lines = shown(
        {"event": "Answered", "at": 0.0},
        caller(1.0, "料金は"),
        {"event": "Latency", "at": 2.5, "seconds": 0.9},
        bot_speaks(2.5),
        bot_finished(4.0, "三千円です"),
        {"event": "CallEnded", "at": 9.0, "report": REPORT},
    )
    assert lines == [
        ["0.0s", "call", "answered"],
        ["1.0s", "caller", "料金は"],
        ["2.5s", "bot", "三千円です  (after 0.90 s)"],
        ["9.0s", "call", "completed, ended by the bot"],
    ]


def test_lines_are_in_the_order_in_which_people_began():
    lines = shown(
        bot_speaks(1.0, "audio"),
        caller(2.0, "ちょっと待って"),
        bot_finished(2.4, "営業", complete=False, kind="audio"),
        bot_speaks(4.0, "audio"),
        bot_finished(5.0, "はい", kind="audio"),
    )
    assert [line[:2] for line in lines] == [["1.0s", "bot"], ["2.0s", "caller"], ["4.0s", "bot"]]
    assert lines[0][2] == "営業 ― cut off"


def test_words_that_were_never_heard_are_not_shown():
    assert shown(bot_speaks(1.0), bot_finished(1.0, "", complete=False)) == []


def test_a_call_that_ends_while_the_bot_speaks_shows_everything():
    lines = shown(bot_speaks(1.0), caller(1.5, "もしもし"), {"event": "CallEnded", "at": 2.0, "report": REPORT})
    assert [line[1] for line in lines] == ["caller", "call"]


def test_markup_in_what_people_say_is_only_words():
    assert shown(caller(1.0, "[red]怖い[/red]"), label="[a]") == [["[a]", "1.0s", "caller  [red]怖い[/red]"]]


def test_failed_webhooks_are_shown_and_good_ones_are_not():
    fetched = {"event": "WebhookFetched", "at": 1.0, "url": "https://x.test"}
    assert shown(fetched | {"status": 200}) == []
    assert shown(fetched | {"status": 500})[0][1:] == ["error", "a webhook was answered with 500"]
    assert shown(fetched | {"status": None})[0][2] == "a webhook was answered with nothing"


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}])
def test_no_colours_away_from_a_terminal(monkeypatch, setting, capsys):
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    Conversation(terminal.console()).show(caller(1.0, "はい"))
    assert "\x1b" not in capsys.readouterr().out


def test_a_log_line_is_made_readable():
    entry = {"severity": "ERROR", "message": "a [webhook] failed", "time": "2026-11-21T10:00:05.123Z", "callSid": "CA1"}
    out = io.StringIO()
    Console(file=out, soft_wrap=True).print(terminal.log_line(json.dumps(entry)))
    assert out.getvalue() == "10:00:05  a [webhook] failed  callSid=CA1\n"


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "[1]", "{}", '"x"', "[bold]"])
def test_other_output_is_left_as_it_is(line):
    out = io.StringIO()
    Console(file=out, soft_wrap=True).print(terminal.log_line(line))
    assert out.getvalue() == f"{line}\n"
