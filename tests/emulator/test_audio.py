"""Mu-law, WAV files and finding speech; and the voice that can be read back."""

import contextlib
import itertools
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import audio, readable_voice
from emulator.audio import Ended, Started, UtteranceFinder, silence
from emulator.recordings import Library


def tone(hertz: float, seconds: float, amplitude: int = 8000, rate: int = 8000) -> bytes:
    count = round(seconds * rate)
    return struct.pack(
        f"<{count}h", *(round(amplitude * math.sin(2 * math.pi * hertz * n / rate)) for n in range(count))
    )


def pcm_wav(pcm: bytes, rate: int, channels: int = 1, encoding: int = 1, bits: int = 16) -> bytes:
    form = struct.pack("<HHIIHH", encoding, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


# --- mu-law -----------------------------------------------------------------------------------------------------


def test_mu_law_values_of_the_standard() -> None:
    # ITU-T G.711 table 2a (its 14-bit values times four): the ends, both zeros, and one in the middle.
    codes = bytes([0x80, 0x00, 0xFF, 0x7F, 0xC0])
    assert struct.unpack("<5h", audio.pcm16_from_ulaw(codes)) == (32124, -32124, 0, 0, 1884)


def test_every_code_survives_the_round_trip() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)  # the second zero becomes the first
    assert audio.ulaw_from_pcm16(audio.pcm16_from_ulaw(codes)) == codes


@given(st.integers(-32768, 32767))
def test_a_sample_comes_back_within_half_a_step(sample: int) -> None:
    (back,) = struct.unpack("<h", audio.pcm16_from_ulaw(audio.ulaw_from_pcm16(struct.pack("<h", sample))))
    assert abs(back - sample) <= max(4, abs(sample) / 30 + 4)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        audio.ulaw_from_pcm16(b"abc")


def test_loudness() -> None:
    sine = audio.ulaw_from_pcm16(tone(400, 0.1, amplitude=32767))
    assert audio.level(sine) == pytest.approx(-3.0, abs=0.2)
    assert audio.level(b"") == audio.level(silence(20)) == -127.0
    assert audio.is_speech(sine[:160])
    assert not audio.is_speech(silence(20))


def test_frames_are_filled_up() -> None:
    assert [len(frame) for frame in audio.frames(b"\x10" * 250)] == [160, 160]
    assert list(audio.frames(b"\x10" * 250))[1].endswith(b"\xff" * 70)


# --- WAV --------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=500))
def test_a_wav_file_holds_what_was_put_in(ulaw: bytes) -> None:
    assert audio.wav_to_ulaw(audio.ulaw_to_wav(ulaw)) == ulaw


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_any_rate_becomes_eight_thousand(rate: int) -> None:
    ulaw = audio.wav_to_ulaw(pcm_wav(tone(440, 0.5, rate=rate), rate))
    assert len(ulaw) == pytest.approx(4000, abs=2)
    samples = struct.unpack(f"<{len(ulaw)}h", audio.pcm16_from_ulaw(ulaw))
    crossings = sum(before < 0 <= after for before, after in itertools.pairwise(samples))
    assert crossings == pytest.approx(220, abs=2)


def test_what_telephones_cannot_carry_is_filtered_out() -> None:
    ulaw = audio.wav_to_ulaw(pcm_wav(tone(9000, 0.5, rate=48000), 48000))
    assert audio.level(ulaw[400:-400]) < -50


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a WAV"),
        (b"RIFF\0\0\0\0WAVE", "without a format"),
        (pcm_wav(b"", 8000)[:44].replace(b"data", b"junk"), "without audio"),
        (pcm_wav(b"\0\0\0\0", 8000, channels=2), "2 channels"),
        (pcm_wav(b"\0\0", 1), "sample rate"),
        (pcm_wav(b"\0", 8000, encoding=1, bits=8), "8 bits"),
        (pcm_wav(b"\0" * 4, 8000, encoding=3, bits=32), "encoding 3"),
        ("/no/such/file.wav", "cannot be read"),
    ],
)
def test_unsuitable_wav_files_are_explained(data: bytes | str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        audio.wav_to_ulaw(data)


@given(st.binary(max_size=200).map(lambda tail: b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + tail))
def test_no_file_raises_anything_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(audio.wav_to_ulaw(data), bytes)


# --- utterances -------------------------------------------------------------------------------------------------


def test_a_spoken_line_between_silences(library: Library) -> None:
    finder = UtteranceFinder(start_ms=100, end_ms=600)
    events = finder.feed(silence(500) + library["booking"].ulaw + silence(700))
    assert events == [Started(600), Ended(3150, 600)]


@given(st.lists(st.integers(1, 900), max_size=30))
@settings(max_examples=30, deadline=None)
def test_pieces_of_any_size_give_the_same_events(library: Library, sizes: list[int]) -> None:
    ulaw = library["hai"].ulaw + silence(700) + library["two-persons"].ulaw + silence(700)
    whole = UtteranceFinder().feed(ulaw)
    finder, pieces, position = UtteranceFinder(), [], 0
    for size in [*sizes, len(ulaw)]:
        pieces += finder.feed(ulaw[position : position + size])
        position += size
    assert pieces == whole
    assert len(whole) == 4


def test_a_click_is_no_speech() -> None:
    click = audio.ulaw_from_pcm16(tone(800, 0.05))
    assert UtteranceFinder().feed(silence(100) + click + silence(100) + click + silence(700)) == []


def test_speech_that_is_cut_off_can_be_finished(library: Library) -> None:
    finder = UtteranceFinder()
    finder.feed(library["booking"].ulaw[:8000])
    assert finder.speaking
    assert finder.finish() == [Ended(1000, 100)]
    assert finder.finish() == []


# --- the readable voice -----------------------------------------------------------------------------------------

TEXTS = st.text(max_size=12)


@given(TEXTS, st.integers(0, 3000), st.integers(0, 3000))
@settings(deadline=None)
def test_any_text_is_read_back(text: str, before: int, after: int) -> None:
    spoken = readable_voice.speak(text)
    assert readable_voice.read(b"\xff" * before + spoken + b"\xff" * after) == text
    assert len(spoken) / 8000 == pytest.approx(readable_voice.seconds(text))


@given(st.text(min_size=1, max_size=8), st.data())
@settings(deadline=None)
def test_a_cut_voice_gives_the_characters_that_were_half_heard(text: str, data: st.DataObject) -> None:
    spoken = readable_voice.speak(text)
    start = data.draw(st.integers(0, len(spoken)))
    end = data.draw(st.integers(start, len(spoken)))
    size = readable_voice.CHARACTER_BYTES
    heard = [min(end, (n + 1) * size) - max(start, n * size) for n in range(len(text))]
    read = readable_voice.read(spoken[start:end])
    # A block is 14 bytes, so between 500 and 532 bytes of 1064 either answer is right.
    surely = "".join(c for c, length in zip(text, heard, strict=True) if length >= size // 2)
    perhaps = "".join(c for c, length in zip(text, heard, strict=True) if length >= 500)
    assert read in (surely, perhaps) or surely in read


def test_several_utterances_in_a_row() -> None:
    voice = readable_voice.speak
    assert readable_voice.read(voice("はい") + silence(300) + voice("はい") + voice("ああ")) == "はいはいああ"
    assert readable_voice.read(voice("あ") + voice("あ")) == "ああ"


def test_a_repeated_frame_is_not_a_repeated_word() -> None:
    spoken = readable_voice.speak("もしもし")
    assert readable_voice.read(spoken[:1760] + spoken[1600:]) == "もしもし"


@given(st.binary(max_size=4000))
def test_garbage_says_nothing(data: bytes) -> None:
    assert readable_voice.read(data) == ""


def test_real_speech_is_not_mistaken_for_it(library: Library) -> None:
    assert all(readable_voice.read(library[name].ulaw) == "" for name in library.names)


def test_the_voice_is_speech_to_a_detector_throughout() -> None:
    spoken = readable_voice.speak("ご予約を承りました。ほかにご用件はございますか。")
    assert all(audio.is_speech(spoken[at : at + 80]) for at in range(0, len(spoken), 80))
