"""What a caller can hear: cleaned text, sentences as they come, and what is no more than a nod."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callbot.text import HARD_CUT, Sentences, clean, is_backchannel, masked, spoken_seconds

# What models write, torn up: markup, numbers and stops meet in every order.
FRAGMENTS = st.sampled_from(
    [
        "はい。",
        "3.5",
        "e.g. ",
        "！？",
        "」",
        "』",
        "**",
        "*",
        "# ",
        "- ",
        "・",
        "\n",
        " ",
        "、",
        "`",
        "```",
        "[",
        "](",
        ")",
        "[地図](https://a.example/?q=1)",
        "http://b.example/a?b=c.d",
        "✨",
        "👩\u200d👩",
        "一二三四五六七八九十" * 3,
        "stop. ",
        "_",
        "__",
        "~~",
        "!",
        "?",
        ".",
        "etc. ",
        "3*4",
        "\u3000",
        "\r\n",
        "\u2028",
        "\ud83d",
        "\u202e",
        "\x00",
        ">",
        "1. ",
    ]
)
MODEL_TEXT = st.one_of(st.text(), st.lists(st.one_of(FRAGMENTS, st.text(max_size=5)), max_size=60).map("".join))


def stream(pieces: list[str]) -> list[str]:
    splitter = Sentences()
    sentences = [sentence for piece in pieces for sentence in splitter.feed(piece)]
    return sentences + splitter.finish()


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("**重要**です。", "重要です。"),
        ("# 見出し\n本文です。", "見出し 本文です。"),
        ("- りんご\n- みかん", "りんご みかん"),
        ("・りんご\n・みかん", "りんご みかん"),
        ("* 一\n  * 二", "一 二"),
        ("> 引用です", "引用です"),
        ("詳しくは[こちら](https://example.com/a?b=1)をどうぞ", "詳しくはこちらをどうぞ"),
        ("`code`と~~取消~~と__下線__", "codeと取消と下線"),
        ("```python\nprint\n```\nおわり", "print おわり"),
        ("snake_case", "snake_case"),
        ("3*4は12", "3×4は12"),
        ("3 * 4", "3 × 4"),
        ("こんにちは😀✨👍🏽", "こんにちは"),
        ("1\ufe0f\u20e3番", "1番"),
        ("一\x00二\u200b三\u202e四\ud800五\uffff六\ufeff七", "一 二三四五六七"),
        ("  あ \r\n\t い　う  ", "あ い う"),
        ("25℃、㈱例", "25℃、㈱例"),
        ("氷点下-5度", "氷点下-5度"),
        ("<break/> & \"'", "<break/> & \"'"),
        ("", ""),
        ("😀", ""),
    ],
)
def test_what_cannot_be_spoken_goes(written: str, spoken: str) -> None:
    assert clean(written) == spoken


def test_a_long_text_ends_with_a_whole_sentence() -> None:
    text = "これは長い文です。" * 1000
    assert clean(text) == "これは長い文です。" * (3000 // 9)
    assert clean("はい。「そうです。」まだ続きます", limit=11) == "はい。「そうです。」"
    assert clean("あ、い、うえお", limit=5) == "あ、い"
    assert clean("あいうえお", limit=3) == "あいう"


@given(MODEL_TEXT, st.integers(1, 50))
def test_whatever_a_model_writes_is_legal_xml_within_the_limit(text: str, limit: int) -> None:
    spoken = clean(text, limit)
    assert len(spoken) <= limit
    say = ElementTree.Element("Say")
    say.text = spoken
    assert (ElementTree.fromstring(ElementTree.tostring(say, encoding="utf-8")).text or "") == spoken  # noqa: S314 -- our own
    assert not re.search(r"[`\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ud800-\udfff\ufffe\uffff]|\*\*", spoken)


@given(MODEL_TEXT)
def test_clean_text_stays_as_it_is(text: str) -> None:
    spoken = clean(re.sub(r"[*_~`#\[\]>+•・●■◆◇□▼▶▪-]", "", text))
    assert clean(spoken) == spoken


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("はい。そうです！本当ですか？ええ", ["はい。", "そうです！", "本当ですか？", "ええ"]),
        ("彼は「行く。」と言った。", ["彼は「行く。」", "と言った。"]),
        ("『はい！？』次", ["『はい！？』", "次"]),
        ("円周率は3.14です。値は3.5倍。", ["円周率は3.14です。", "値は3.5倍。"]),
        ("果物 e.g. りんご etc. があります。", ["果物 e.g. りんご etc. があります。"]),
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("https://example.com/?a=1を見て。", ["https://example.com/?a=1を見て。"]),
        ("一行目\n二行目\n\n三行目", ["一行目", "二行目", "三行目"]),
        ("**すごい!**次です。", ["すごい!", "次です。"]),
        ("二つです。\n- りんご\n- みかん", ["二つです。", "りんご", "みかん"]),
        ("。。。はい。。 。では", ["。。。はい。", "では"]),
        ("「はい。そうです。」では", ["「はい。", "そうです。」", "では"]),
        ("はい。」では", ["はい。", "」では"]),
        ("**重要です。**次", ["重要です。", "次"]),
        ("[見て。ここ](https://a.example/)です。", ["見て。ここです。"]),
        ("短い、文。", ["短い、文。"]),
        ("あ" * 40 + "、" + "い。", ["あ" * 40 + "、", "い。"]),
        ("あ" * 250, ["あ" * HARD_CUT, "あ" * 50]),
        ("…", []),
    ],
)
def test_a_stream_is_split_where_a_voice_would_pause(text: str, sentences: list[str]) -> None:
    assert stream([text]) == sentences
    assert stream(list(text)) == sentences


def test_a_sentence_is_out_with_its_full_stop() -> None:
    splitter = Sentences()
    assert splitter.feed("かしこまりまし") == []
    assert splitter.feed("た。") == ["かしこまりました。"]
    assert splitter.feed("。で") == []
    assert splitter.feed("は\n") == ["では"]
    assert splitter.finish() == []


def test_a_sentence_in_which_something_is_quoted_waits_for_what_may_close_it() -> None:
    splitter = Sentences()
    assert splitter.feed("店長が「行きます。") == []
    assert splitter.feed("」") == []
    assert splitter.feed("と") == ["店長が「行きます。」"]
    assert splitter.feed("本当！") == []  # ？ could follow
    assert splitter.feed("次") == ["と本当！"]


@given(MODEL_TEXT, st.data())
@example("*3" * 150, None)
@example("- " * 150 + "あ", None)
@example("\n" + " " * 300 + "- あ", None)
def test_however_a_text_arrives_the_sentences_are_the_same_and_are_the_whole(
    text: str, data: st.DataObject | None
) -> None:
    at_once = stream([text])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text))))) if data else range(len(text))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert stream(pieces) == at_once
    assert all(sentence == sentence.strip() and len(sentence) <= 600 for sentence in at_once)
    assert all(at_once)
    whole, joined = ("".join(part.split()) for part in (clean(text, limit=10**9), "".join(at_once)))
    whole, joined = (re.sub("。+", "。", part) for part in (whole, joined))
    assert joined == whole or (whole.startswith(joined) and not any(map(str.isalnum, whole[len(joined) :])))


@pytest.mark.parametrize(
    "text",
    [
        "はい",
        "はい。",
        "はいはい",
        "はい、はい。",
        "うん",
        "うんうん",
        "うーん。",
        "ええ",
        "えー",
        "あー",
        "あ、はい",
        "なるほど。",
        "なるほどね",
        "なるほどですね",
        "そうですか",
        "そうなんですね",
        "ふーん",
        "へえ",
        "へぇー",
        "ほう",
        "OK",
        "オッケー",
        "ＯＫ",
        "Uh-huh.",
        "そっか",
        "わかりました。",
        "うん、なるほど",
    ],
)
def test_a_nod_is_a_nod(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text",
    [
        "はい、お願いします",
        "",
        "。",
        "ううん",
        "いいえ",
        "違います",
        "ちょっと待って",
        "えっと",
        "あの",
        "もういいです",
        "はい" * 40,
        "うんざりです",
        "そうですが",
        "OKじゃない",
    ],
)
def test_words_are_not_a_nod(text: str) -> None:
    assert not is_backchannel(text)


@given(st.text())
def test_no_text_upsets_the_measures(text: str) -> None:
    is_backchannel(text)
    masked(text)
    assert spoken_seconds(text) >= 0


def test_a_longer_text_takes_longer() -> None:
    assert (
        5
        < spoken_seconds(
            "お電話ありがとうございます。カスタマーサポートでございます。本日はどのようなご用件でしょうか。"
        )
        < 9
    )
    assert spoken_seconds("03-1234-5678") > spoken_seconds("hello world")
    assert spoken_seconds("") == 0


def test_a_masked_number_cannot_be_dialled() -> None:
    assert masked("+819012345678") == "+81******78"
    assert masked("anonymous") == masked("sip:taro@example.com") == masked("110") == "***"
