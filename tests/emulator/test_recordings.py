"""Recordings are known again by their audio, and what was done to it on the way is measured."""

import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import emulator
from emulator import espeak, readable_voice, recordings
from emulator.audio import UtteranceFinder, silence
from emulator.recordings import Library, SpeechUnavailable, synthesise

FOLDER = Path(emulator.__file__).parent / "recordings"


def test_the_shipped_set(library: Library) -> None:
    lines = tomllib.loads((FOLDER / "lines.toml").read_text(encoding="utf-8"))["line"]
    assert set(lines) == {path.stem for path in FOLDER.glob("*.wav")} == set(library.names)
    sizes = [path.stat().st_size for path in FOLDER.glob("*.wav")]
    assert max(sizes) < 40_000
    assert sum(sizes) < 500_000
    assert library["booking"].text == "明日の三時に予約をお願いします"
    assert max(library[name].seconds for name in library.names) > 4
    with pytest.raises(KeyError):
        library["no such"]


def test_each_is_one_utterance_and_known_by_its_audio(library: Library) -> None:
    for name in library.names:
        recording = library[name]
        assert len(UtteranceFinder(end_ms=500).feed(recording.ulaw + silence(600))) == 2, name
        found = library.recognise(silence(130.5) + recording.ulaw + silence(77))
        assert (found.recording, found.text, found.intact) == (recording, recording.text, True), name


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_a_fault_of_20_ms_is_measured_wherever_it_is(library: Library, data: st.DataObject) -> None:
    recording = library[data.draw(st.sampled_from(library.names))]
    ulaw = recording.ulaw
    at = data.draw(st.integers(1600, len(ulaw) - 1600))
    lost, doubled = ulaw[:at] + ulaw[at + 160 :], ulaw[: at + 160] + ulaw[at:]
    spoilt = ulaw[:at] + bytes(byte ^ 0x55 for byte in ulaw[at : at + 160]) + ulaw[at + 160 :]
    results = [library.recognise(audio) for audio in (lost, doubled, spoilt)]
    assert [r.recording for r in results] == [recording] * 3
    assert [(r.missing_ms, r.repeated_ms, r.damaged_ms) for r in results] == [
        pytest.approx((20, 0, 0), abs=1),
        pytest.approx((0, 20, 0), abs=1),
        pytest.approx((0, 0, 20), abs=1),
    ]


def test_one_changed_bit_shows(library: Library) -> None:
    ulaw = bytearray(library["booking"].ulaw)
    ulaw[9000] ^= 1
    assert library.recognise(bytes(ulaw)).damaged_ms == 1


def test_a_detector_may_trim_the_edges(library: Library) -> None:
    recording = library["booking"]
    found = library.recognise(recording.ulaw[150 * 8 : -150 * 8])
    assert found.text == recording.text
    assert found.intact


def test_lost_words_leave_a_mark(library: Library) -> None:
    ulaw = library["booking"].ulaw
    assert library.recognise(ulaw[:6000] + ulaw[10000:]).text == "明日の三…約をお願いします"
    assert library.recognise(ulaw[len(ulaw) // 2 :]).text == "…約をお願いします"
    first_half = library.recognise(ulaw[: len(ulaw) // 2])
    assert first_half.text == "明日の三時に予…"
    assert first_half.missing_ms > 1200


def test_what_is_still_coming_is_not_missing(library: Library) -> None:
    ulaw = library["booking"].ulaw
    texts = [library.recognise(ulaw[:length], complete=False).text for length in range(0, len(ulaw), 800)]
    assert all(library["booking"].text.startswith(text) for text in texts)
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)
    assert library.recognise(ulaw[:9000], complete=False).intact


def test_two_lines_in_one_breath(library: Library) -> None:
    found = library.recognise(library["hai"].ulaw + library["booking"].ulaw + library["hai"].ulaw)
    assert found.text == "はい、明日の三時に予約をお願いします、はい"
    assert [recording.name for recording in found.recordings] == ["hai", "booking", "hai"]
    assert found.intact


def test_the_bots_echo_and_the_unknown(library: Library) -> None:
    assert library.recognise(readable_voice.speak("いらっしゃいませ")).text == "いらっしゃいませ"
    unknown = library.recognise(library["booking"].ulaw[::-1])
    assert (unknown.text, unknown.recording) == ("", None)


@given(st.binary(max_size=3000))
def test_any_audio_can_be_asked_about(library: Library, ulaw: bytes) -> None:
    assert isinstance(library.recognise(ulaw).text, str)


def test_new_speech_can_be_taught() -> None:
    library = Library()
    ulaw = Library.shipped()["price"].ulaw
    added = library.add("おいくらですか", ulaw)
    assert library.add("おいくらですか", ulaw) is added
    assert library.recognise(ulaw).recording is added
    with pytest.raises(ValueError, match="already"):
        library.add("別の言葉", ulaw[:4000], name=added.name)


def test_teaching_while_others_listen(library: Library) -> None:
    shared = Library.shipped()
    ulaw = library["booking"].ulaw
    failures: list[BaseException] = []

    def listen() -> None:
        try:
            for _ in range(30):
                assert shared.recognise(ulaw).text == library["booking"].text
        except BaseException as exc:  # carried to the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=listen) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(30):
        shared.add(f"声{number}", bytes((byte + number) & 0xFF for byte in ulaw[:4000]))
    for thread in threads:
        thread.join(20)
    assert failures == []


needs_espeak = pytest.mark.skipif(espeak.missing(), reason="espeak-ng is not installed")


@needs_espeak
def test_new_lines_can_be_spoken(library: Library) -> None:
    recording = synthesise("こんにちは")
    assert recording == synthesise("こんにちは")
    assert 0.5 < recording.seconds < 3
    assert len(UtteranceFinder().feed(recording.ulaw + silence(700))) == 2


@needs_espeak
@pytest.mark.parametrize("text", ["", "  ", "あ" * 501, "a\nb", "\ud800"])
def test_what_cannot_be_said_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        synthesise(text)


@needs_espeak
def test_text_is_no_option_of_the_program() -> None:
    assert synthesise("--help").seconds > 0.3


def test_without_espeak_the_message_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SpeechUnavailable, match="apt-get install espeak-ng"):
        recordings.synthesise("はい")
