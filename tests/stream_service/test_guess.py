"""When what the recogniser thought and what it is sure of are the same words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_service.guess import same_words


@pytest.mark.parametrize(
    ("interim", "final"),
    [
        ("予約をお願いします", "予約をお願いします。"),
        ("はい 予約です", "はい、予約です。"),
        ("ＯＫです", "OKです。"),
        ("3.5キロ", "３．５キロ。"),
        ("二、三人です", "二、三人です。"),
    ],
)
def test_the_same_words(interim: str, final: str) -> None:
    assert same_words(interim, final)


@pytest.mark.parametrize(
    ("interim", "final"),
    [
        ("予約を", "予約をお願いします。"),
        ("行けます", "行けます？"),
        ("35キロ", "3.5キロ"),
        ("3 5", "35"),
        ("三、五", "三五"),
        ("二三人です", "二、三人です。"),
        ("50%", "50"),
        ("じゅうごじ", "15時"),
        ("えっと予約", "予約"),
        ("", "予約"),
    ],
)
def test_not_the_same_words(interim: str, final: str) -> None:
    assert not same_words(interim, final)


@given(st.text(max_size=12), st.text(max_size=12))
def test_more_words_are_never_the_same_words(text: str, more: str) -> None:
    if any(map(str.isalnum, more)):
        assert not same_words(text, text + more)
