"""What the emulated AmiVoice hears: utterances found in real audio, dated by it, and damage to it shown."""

import json
import time

import pytest
from amivoice_client import KEY, START, Dial

from emulator import readable_voice
from emulator.amivoice import AmiVoice
from emulator.amivoice_faults import MisheardInterims, RecogniserAfterEnd, SlowResults
from emulator.audio import pcm16_from_ulaw, silence
from emulator.espeak import cough
from emulator.recordings import Library


def test_a_question_is_heard_from_start_to_result(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    client = dial(amivoice)
    client.say(silence(400) + library["opening-hours"].ulaw)
    result = client.result()
    assert result["text"] == "営業時間を教えてください。"
    assert (result["code"], result["message"]) == ("", "")
    (detail,) = result["results"]  # type: ignore[misc]  # parsed JSON
    assert detail["starttime"] == 500
    assert detail["endtime"] == pytest.approx(400 + 2170, abs=20)
    assert "".join(token["written"] for token in detail["tokens"]) == result["text"]
    assert [token["spoken"] for token in detail["tokens"]][-1] == "_"
    assert client.tags.startswith("sSCU")
    assert client.tags.endswith("EA")


def test_times_come_from_the_audio_not_from_the_clock(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    # Ten seconds of audio arrive at once: the interim results are those of a call of ten seconds all the same.
    client = dial(amivoice)
    began = time.monotonic()
    client.feed(silence(5000) + library["long-story"].ulaw + silence(1000), chunk=8000)
    client.result()
    assert time.monotonic() - began < 4.0
    assert client.messages[1] == "S 5100"
    interim = [json.loads(message[2:]) for message in client.messages if message[0] == "U"]
    assert len(interim) == 15  # one every 300 ms in 4.38 s of speech and the silence that ends it
    assert all(update["text"].endswith("...") for update in interim)
    lengths = [len(update["text"]) for update in interim]
    assert lengths == sorted(lengths)
    assert "confidence" not in interim[0]["results"][0]


def interims(messages: list[str]) -> list[str]:
    return [json.loads(message[2:])["text"].removesuffix("...") for message in messages if message[0] == "U"]


def test_the_words_are_all_there_before_the_end_of_speech_is_noticed(
    amivoice: AmiVoice, dial: Dial, library: Library
) -> None:
    client = dial(amivoice, START.replace("=300", "=200"))
    client.say(library["opening-hours"].ulaw)
    client.result()
    *growing, whole = interims(client.messages)
    assert whole == library["opening-hours"].text
    assert all(whole.startswith(text) for text in growing)
    tags = client.tags
    assert tags.rindex("U") < tags.index("E") < tags.index("A")


def test_interim_results_can_be_wrong_where_the_final_one_is_right(
    amivoice: AmiVoice, dial: Dial, library: Library
) -> None:
    amivoice.faults.next(MisheardInterims("でしょう"))
    client = dial(amivoice)
    client.say(library["price"].ulaw)
    assert client.result()["text"] == "料金はいくらですか。"
    assert interims(client.messages)[-1] == "料金はいくらですでしょう"


def test_a_result_is_late_by_the_audios_time(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    # Fed at once, a result that takes a second still comes before an utterance two seconds later.
    amivoice.faults.next(SlowResults(1.0))
    client = dial(amivoice)
    client.feed(library["hai"].ulaw + silence(3000) + library["un"].ulaw + silence(3000))
    client.result()
    client.result()
    assert client.tags.replace("U", "") == "sSCEASCEA"


def test_the_size_of_packets_changes_nothing(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    seen = []
    for chunk in (160, 1234, 40000):
        client = dial(amivoice)
        client.feed(library["booking"].ulaw + silence(1000), chunk)
        client.result()
        seen.append([message for message in client.messages if message[0] in "SEU"])
    assert seen[0] == seen[1] == seen[2]


def test_without_an_interval_there_are_no_interim_results(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    client = dial(amivoice, f"s MULAW -a-general authorization={KEY}")
    client.say(library["booking"].ulaw)
    client.result()
    assert client.tags == "sSCEA"


def test_the_recogniser_may_begin_after_the_end_of_speech(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    amivoice.faults.next(RecogniserAfterEnd())
    client = dial(amivoice)
    client.say(library["booking"].ulaw)
    client.result()
    assert client.tags == "sSECA"


def test_one_result_for_each_utterance(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    client = dial(amivoice)
    for name in ("hai", "two-persons", "un"):
        client.say(library[name].ulaw)
    texts = [client.result()["text"] for _ in range(3)]
    assert texts == ["はい。", "二人です。", "うん。"]
    assert client.tags.count("S") == client.tags.count("E") == client.tags.count("A") == 3


def test_silence_closes_an_utterance_after_post_time(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    two_words = library["hai"].ulaw + silence(300) + library["two-persons"].ulaw + silence(1000)
    patient = dial(amivoice)
    patient.feed(two_words)
    assert patient.result()["text"] == "はい、二人です。"
    hasty = dial(amivoice, START.replace("postTime=500", "postTime=250"))
    hasty.feed(two_words)
    assert [hasty.result()["text"], hasty.result()["text"]] == ["はい。", "二人です。"]


def test_a_cough_is_rejected(amivoice: AmiVoice, dial: Dial) -> None:
    client = dial(amivoice)
    client.say(cough())
    result = client.result()
    assert (result["text"], result["code"]) == ("", "o")
    assert result["message"]


def test_unknown_speech_is_told_from_noise(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    backwards = library["booking"].ulaw[::-1]
    client = dial(amivoice)
    client.say(backwards)
    assert client.result()["text"] == "聞き取れない音声です。".removesuffix("。")
    with AmiVoice(library, keys={KEY}, unknown_text="") as strict:
        client = dial(strict)
        client.say(backwards)
        assert client.result()["code"] == "o"


def test_the_bots_own_echo_is_heard_as_its_words(amivoice: AmiVoice, dial: Dial) -> None:
    client = dial(amivoice)
    client.say(readable_voice.speak("はい、承知しました"))
    assert client.result()["text"] == "はい、承知しました。"


def test_sixteen_bit_audio_is_heard_too(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    client = dial(amivoice, START.replace("MULAW", "lsb8k"))
    client.feed(pcm16_from_ulaw(library["price"].ulaw + silence(900)), chunk=999)
    # Odd packets split samples; the audio is whole again all the same.
    assert client.result()["text"] == "料金はいくらですか。"


def test_damage_on_the_way_shows(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    ulaw = library["booking"].ulaw
    client = dial(amivoice)
    for damaged in (
        ulaw,
        ulaw[:8000] + ulaw[8160:],
        ulaw[:8160] + ulaw[8000:],
        ulaw[:8000] + silence(20) + ulaw[8160:],
    ):
        client.say(damaged)
        client.result()
    found = [utterance.recognised for utterance in amivoice.sessions[0].utterances]
    assert [(r.missing_ms, r.repeated_ms, r.damaged_ms) for r in found] == [
        (0, 0, 0),
        (20, 0, 0),
        (0, 20, 0),
        (0, 0, 20),
    ]


def test_lost_words_are_lost_in_the_text(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    ulaw = library["booking"].ulaw
    client = dial(amivoice)
    client.say(ulaw[: len(ulaw) // 2])
    text = client.result()["text"]
    assert isinstance(text, str)
    assert text.startswith("明日の三時に")
    assert "お願いします" not in text


def test_a_long_utterance_is_cut_and_goes_on(impatient: AmiVoice, dial: Dial, library: Library) -> None:
    client = dial(impatient)
    client.say(library["long-story"].ulaw)
    client.until("A")
    client.until("A")
    starts = [int(message[2:]) for message in client.messages if message[0] == "S"]
    ends = [int(message[2:]) for message in client.messages if message[0] == "E"]
    assert starts[1] == ends[0] == starts[0] + 2000
