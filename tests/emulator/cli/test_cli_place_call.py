"""Placing one call from outside, and judging it."""

import pytest
from cli_answering import NUMBER, answering

from emulator import place_call
from emulator.place_call import NotPlacedError, Order
from emulator.recordings import Library, Recording

CALLER = "+819012345678"
GOOD = {
    "status": "completed",
    "ended_by": "bot",
    "errors": [],
    "notes": [],
    "heard": [{"text": "はい"}],
    "said": [{"text": "営業時間を教えてください"}],
    "turns": [{"latency": 1.0}],
    "longest_unexplained_silence": 1.0,
}


def test_a_call_is_placed_and_followed_to_its_report():
    with answering("<Say>ご用件をどうぞ</Say><Pause length='2'/><Say>承知しました</Say>") as carrier:
        assert place_call.answers(carrier.url)
        speech = [Recording("a", "予約です", bytes(range(64, 128)) * 50)]
        events = list(place_call.place(carrier.url, Order(NUMBER, CALLER, speech, hang_up=False, max_seconds=20)))
    assert [events[0]["event"], events[-1]["event"]] == ["CallStarted", "CallEnded"]
    report = events[-1]["report"]
    assert [heard["text"] for heard in report["heard"]] == ["ご用件をどうぞ", "承知しました"]
    assert [said["text"] for said in report["said"]] == ["予約です"]


def test_a_refusal_is_told_in_the_words_of_who_refused():
    with (
        answering("<Say>はい</Say>") as carrier,
        pytest.raises(NotPlacedError, match="to is not a number of this carrier"),
    ):
        list(place_call.place(carrier.url, Order("+819000000000", CALLER, [])))
    assert not place_call.answers(carrier.url)
    with pytest.raises(NotPlacedError, match="could not be placed"):
        list(place_call.place(carrier.url, Order(NUMBER, CALLER, [])))


def test_the_emulators_learn_what_a_recording_says():
    with answering("<Say>はい</Say>") as carrier:
        with pytest.raises(NotPlacedError, match="nobody here wants to learn"):
            place_call.learn(carrier.url, Recording("a", "予約です", b"\x10" * 800))
        learned = []
        carrier.on_recording = lambda text, ulaw: learned.append((text, len(ulaw)))
        place_call.learn(carrier.url, Recording("a", "予約です", b"\x10" * 800))
    assert learned == [("予約です", 800)]


def test_a_call_as_it_should_be_has_no_problem():
    assert place_call.problems(GOOD, {"status": "completed"}) == []
    assert place_call.problems(GOOD, None) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "failed"}, "ended as failed"),
        ({"ended_by": "carrier"}, "ended by the carrier"),
        ({"ended_by": "time-limit"}, "ended by the time-limit"),
        ({"errors": [[11200, "HTTP retrieval failure"]]}, "error 11200"),
        ({"notes": ["the caller hung up after 9 s (max_seconds)"]}, "max_seconds"),
        ({"heard": []}, "never heard"),
        ({"turns": []}, "nothing the caller said was answered"),
        ({"longest_unexplained_silence": 3.01}, "left waiting for 3.0 s"),
    ],
)
def test_what_is_wrong_is_said(change, problem):
    (found,) = place_call.problems(GOOD | change, None)
    assert problem in found


def test_a_call_that_is_never_over_on_record_is_wrong():
    assert place_call.problems(GOOD, {"status": "in-progress"}) == ["its record says in-progress"]


def test_noises_need_no_answer():
    assert place_call.problems(GOOD | {"said": [{"text": ""}], "turns": []}, None) == []


def test_the_words_of_a_file_are_beside_it_or_known_or_its_name(tmp_path, library: Library):
    from emulator.audio import ulaw_to_wav

    wav = tmp_path / "question.wav"
    wav.write_bytes(ulaw_to_wav(library["price"].ulaw))
    assert place_call.from_file(wav, library).text == "料金はいくらですか"
    (tmp_path / "question.txt").write_text("いくら\n", encoding="utf-8")
    assert place_call.from_file(wav, library).text == "いくら"
    (tmp_path / "question.wav.txt").write_text("いくらですか", encoding="utf-8")
    assert place_call.from_file(wav, library).text == "いくらですか"
    other = tmp_path / "unknown.wav"
    other.write_bytes(ulaw_to_wav(bytes(8000)))
    assert place_call.from_file(other, library).text == "unknown"
    other.write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"."):
        place_call.from_file(other, library)
