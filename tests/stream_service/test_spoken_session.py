"""Scenes from calls on engine amivoice: greeting, turns, waiting, a new session or stream."""

from call_scenes import AGENT, a_turn, none, notes, one
from spoken_scenes import LONG, answered, greeted, says, spoken

from callbot.calls import Flow
from callbot.text import spoken_seconds
from stream_service.commands import CallerActive, CancelChat, GetReady, KeepTurn, KeepUsage, Listen, Speak, StartChat
from stream_service.events import (
    AnswerDone,
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    Delivered,
    EngineLost,
    EngineReady,
    FirstToken,
    HeardSoFar,
    SentenceReady,
    StoreHealth,
)
from stream_service.spoken_answers import BEGUN_SECONDS, FILLER_SECONDS, STALL_SECONDS

# --- greeting and turns -------------------------------------------------------------------------------------------


def test_the_greeting_is_being_spoken_by_the_twiml_and_is_the_first_turn() -> None:
    scene = spoken()
    commands = scene.happens(EngineReady(resumed=False))
    turn = one(commands, KeepTurn).turn
    assert (turn.n, turn.role, turn.text, turn.complete) == (1, "agent", "もしもし、たくみです。", True)
    none(commands, Speak, StartChat)


def test_an_outbound_calls_own_greeting_counts_with_its_variables() -> None:
    scene = spoken(greeting="{name}様のお電話でしょうか。")
    turn = one(scene.happens(EngineReady(resumed=False)), KeepTurn).turn
    assert turn.text == "佐藤様のお電話でしょうか。"


def test_a_turn_from_the_callers_words_to_the_last_sentence() -> None:
    scene = greeted()
    assert scene.happens(CallerStarted()) == [CallerActive(), GetReady()]
    scene.happens(CallerStopped(), after=1.0)
    commands = scene.happens(CallerSaid("予約をお願いします。", speech_end=scene.now), after=0.25)
    chat = one(commands, StartChat)
    assert chat.messages == (
        {"role": "system", "content": "あなたはたくみです。相手は佐藤様です。"},
        {"role": "assistant", "content": "もしもし、たくみです。"},
        {"role": "user", "content": "予約をお願いします。"},
    )
    assert scene.happens(FirstToken(chat.turn), after=0.5) == []
    first = scene.happens(SentenceReady(chat.turn, "ご予約ですね。"), after=0.25)
    assert one(first, Speak) == Speak(chat.turn, ("ご予約ですね。",), 1)
    assert notes(first) == []
    second = scene.happens(SentenceReady(chat.turn, "何名様ですか。"))
    none(second, Speak)  # `/call-flow` fetches it
    assert one(second, KeepTurn).turn.sentences == ("ご予約ですね。", "何名様ですか。")
    scene.happens(Delivered(chat.turn), after=0.125)
    done = scene.happens(AnswerDone(chat.turn, usage={"text_tokens_in": 9}))
    assert one(done, KeepUsage).usage == {"text_tokens_in": 9}
    assert one(done, KeepTurn).turn.complete

    greeting, caller, agent = scene.turns()
    assert greeting.heard == greeting.text
    assert (caller.text, caller.heard) == ("予約をお願いします。", "予約をお願いします。")
    assert agent.text == "ご予約ですね。何名様ですか。"
    assert agent.stages_ms == {
        "transcript": 250,
        "asked": 250,
        "first_token": 750,
        "first_sentence": 1000,
        "first_words_out": 1000,
        "delivered": 1125,
    }
    assert caller.stages_ms == {"transcript": 250}


def test_the_next_turn_knows_the_last_answer_whole() -> None:
    scene = greeted()
    answered(scene, "九時からです。")
    scene.wait(10)
    turn = says(scene, "何時までですか")
    told = scene.all(StartChat)[-1].messages[-2:]
    assert [message["content"] for message in told] == ["九時からです。", "何時までですか"]
    assert turn == 5


def test_an_utterance_that_comes_in_two_parts_gets_one_answer() -> None:
    scene = greeted()
    first = says(scene, "明日の")
    scene.happens(CallerStarted(), after=0.1)
    scene.happens(CallerStopped(), after=0.7)
    commands = scene.happens(CallerSaid("三時に予約をお願いします。"), after=0.2)
    assert one(commands, CancelChat) == CancelChat(first)
    chat = one(commands, StartChat)
    assert [message["content"] for message in chat.messages[-2:]] == ["明日の", "三時に予約をお願いします。"]
    assert scene.happens(SentenceReady(first, "明日の何でしょう。")) == []  # it was on its way already
    given_up = scene.transcript[first]
    assert (given_up.text, given_up.heard, given_up.interrupted) == ("", "", True)


def test_a_model_that_says_nothing_does_not_leave_the_caller_in_silence() -> None:
    scene = greeted()
    turn = says(scene, "ええと")
    commands = scene.happens(AnswerDone(turn), after=0.4)
    assert one(commands, Speak).sentences == (AGENT.repeat_please,)


def test_the_caller_may_speak_before_the_greeting_is_over() -> None:
    scene = spoken()
    scene.happens(EngineReady(resumed=False))
    scene.happens(CallerStarted(), after=0.5)
    commands = scene.happens(CallerSaying("すみません予約の件で"), after=0.4)
    one(commands, Listen)
    commands = scene.happens(CallerSaid("すみません予約の件です。"), after=0.8)
    none(commands, StartChat)  # first it is found out what was heard
    commands = scene.happens(HeardSoFar(1, 0, 0.0), after=0.1)
    greeting = scene.transcript[1]
    assert 0 < len(greeting.heard or "") < len(greeting.text)
    assert greeting.interrupted
    one(commands, StartChat)


# --- waiting ------------------------------------------------------------------------------------------------------


def test_a_slow_model_is_bridged_by_a_filler() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    assert scene.wait(FILLER_SECONDS - 0.3 - 0.05) == []
    commands = scene.wait(0.2)
    filler = one(commands, Speak)
    assert filler.sentences[0] in AGENT.fillers
    assert filler.next_sentence == 0  # the answer then begins at its first sentence
    scene.happens(Delivered(turn), after=0.1)
    commands = scene.happens(SentenceReady(turn, "三千円です。"), after=0.5)
    none(commands, Speak)
    assert one(commands, KeepTurn).turn.sentences == ("三千円です。",)


def test_a_filler_does_not_put_off_the_first_sentence_of_an_answer_that_is_being_written() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    scene.happens(FirstToken(turn), after=1.0)
    none(scene.wait(BEGUN_SECONDS - 1.3 - 0.05, tick=0.05), Speak)
    commands = scene.happens(SentenceReady(turn, "三千円です。"))
    assert one(commands, Speak).sentences == ("三千円です。",)


def test_an_answer_that_was_begun_and_does_not_go_on_is_bridged_in_time() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    scene.happens(FirstToken(turn), after=1.0)
    scene.wait(BEGUN_SECONDS - 1.3 - 0.05, tick=0.05)
    assert one(scene.wait(0.1, tick=0.05), Speak).sentences[0] in AGENT.fillers
    assert BEGUN_SECONDS < 3.0


def test_fillers_take_turns() -> None:
    scene = greeted()
    for _ in range(2):
        turn = says(scene, "料金を教えてください")
        scene.wait(2)
        scene.happens(SentenceReady(turn, "三千円です。"))
        scene.happens(AnswerDone(turn))
        scene.happens(Delivered(turn))
        scene.wait(10)
    fillers = [speak.sentences[0] for speak in scene.all(Speak)]
    assert fillers == list(AGENT.fillers) or fillers == list(AGENT.fillers)[::-1]


def test_the_caller_may_go_on_over_a_filler() -> None:
    scene = greeted()
    turn = says(scene, "料金を")
    scene.wait(2)
    scene.happens(Delivered(turn))
    scene.happens(CallerSaid("教えてください。"), after=0.3)
    commands = scene.happens(HeardSoFar(turn, 0, 0.0), after=0.1)
    told = [message["content"] for message in one(commands, StartChat).messages]
    assert told[-2:] == ["料金を", "教えてください。"]


def test_a_stalled_model_is_given_up_with_an_apology_within_four_seconds() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    spoke_at = scene.now - 0.3
    commands = scene.wait(STALL_SECONDS + 0.2)
    assert CancelChat(turn) in commands
    assert scene.now - spoke_at < 4.5
    kept = scene.turns()[-1]
    assert kept.failed == "stalled"
    assert kept.sentences == (AGENT.apology,)
    assert kept.complete
    assert kept.then == "listen"


def test_a_model_that_stalls_in_mid_answer_is_given_up_too() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    scene.happens(SentenceReady(turn, LONG[0]), after=0.5)
    scene.wait(STALL_SECONDS + 0.2)
    assert scene.transcript[turn].sentences == (LONG[0], AGENT.apology)
    assert scene.happens(SentenceReady(turn, LONG[1])) == []  # too late: the apology was the last word
    assert scene.happens(AnswerDone(turn)) == []
    assert scene.transcript[turn].sentences == (LONG[0], AGENT.apology)


def test_time_spent_waiting_is_counted_from_the_callers_last_word_once() -> None:
    scene = greeted(max_duration_seconds=120)
    answered(scene, "九時からです。")
    warning = scene.wait(100)[:3]
    assert notes(warning) == ["time warning"]
    answer, warned = scene.all(Speak)[:2]
    assert warned.sentences == (AGENT.time_warning,)
    assert scene.transcript[answer.turn].stages_ms["first_words_out"] == 600
    assert scene.transcript[warned.turn].stages_ms == {}  # nobody waited for it


# --- a new session, a new stream ----------------------------------------------------------------------------------


def test_a_new_session_of_the_recogniser_changes_nothing() -> None:
    scene = greeted()
    turn = answered(scene, *LONG)
    assert notes(scene.happens(EngineLost("reset"))) == ["engine lost"]
    commands = scene.happens(EngineReady(resumed=True), after=0.5)
    none(commands, Speak, StartChat, KeepTurn)
    assert scene.transcript.last is scene.transcript[turn]


def test_who_was_speaking_when_the_session_was_lost_is_not_speaking_for_ever() -> None:
    scene = greeted(max_duration_seconds=120)
    scene.happens(CallerStarted())
    scene.happens(EngineLost("reset"))
    scene.happens(EngineReady(resumed=True))
    assert "time warning" in notes(scene.wait(100))


def test_a_new_stream_answers_the_caller_whom_the_old_one_left_waiting() -> None:
    earlier = [a_turn(1, "agent", "もしもし。", heard="もしもし。"), a_turn(2, "caller", "予約です")]
    scene = spoken(earlier, generation=2)
    chat = one(scene.happens(EngineReady(resumed=False)), StartChat)
    assert chat.turn == 3
    assert chat.messages[-1]["content"] == "予約です"


def test_a_new_stream_makes_a_broken_answer_anew() -> None:
    earlier = [
        a_turn(1, "caller", "予約です"),
        a_turn(2, "agent", "はい。何名", sentences=("はい。", "何名"), complete=False),
    ]
    scene = spoken(earlier, generation=2, flow=Flow(turn=2, sentence=1))
    commands = scene.happens(EngineReady(resumed=False))
    assert scene.transcript[2].heard == "はい。"
    told = [message["content"] for message in one(commands, StartChat).messages]
    assert told[1:] == ["予約です", "はい。"]


def test_a_new_stream_finds_the_carrier_going_on_with_a_complete_answer() -> None:
    earlier = [a_turn(1, "caller", "時間は"), a_turn(2, "agent", "".join(LONG), sentences=LONG)]
    scene = spoken(earlier, generation=2, flow=Flow(turn=2, sentence=1))
    none(scene.happens(EngineReady(resumed=False)), StartChat, Speak)
    scene.happens(CallerSaying("料金はいくら"), after=1.0)
    scene.happens(HeardSoFar(2, 1, 0.5), after=0.1)
    heard = scene.transcript[2].heard or ""
    assert heard.startswith(LONG[0])
    assert len(heard) < len("".join(LONG))


def test_a_new_stream_after_a_whole_answer_listens() -> None:
    earlier = [a_turn(1, "agent", "もしもし。", heard="もしもし。")]
    scene = spoken(earlier, generation=2)
    assert notes(scene.happens(EngineReady(resumed=False))) == ["engine ready"]
    assert says(scene, "予約です") == 3


# --- without the store --------------------------------------------------------------------------------------------


def test_while_the_store_is_down_the_updates_themselves_say_the_rest() -> None:
    scene = greeted()
    scene.happens(StoreHealth(down=True))
    turn = answered(scene, *LONG)
    commands = scene.wait(spoken_seconds(LONG[0]) + 0.4)
    assert one(commands, Speak).sentences == LONG[1:]
    assert one(commands, Speak).turn == turn
    none(scene.wait(20), Speak)


def test_once_the_store_is_back_the_functions_say_the_rest() -> None:
    scene = greeted()
    scene.happens(StoreHealth(down=True))
    scene.happens(StoreHealth(down=False))
    answered(scene, *LONG)
    none(scene.wait(20), Speak)
