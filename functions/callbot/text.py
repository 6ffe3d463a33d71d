"""Text on its way to a caller's ear: cleaned of what cannot be spoken, split into sentences, and measured.

Pure functions and one incremental splitter. What is said, and when, is decided elsewhere.
"""

import re
import unicodedata

LIMIT = 3000  # characters; Twilio takes about 4,096 in one `<Say>`
COMMA_AFTER = 40  # characters; from here on a 、 ends a piece too, so that the voice can begin early
HARD_CUT = 200

# Pictures, most of which a voice would read out by their names. ℃, ㈱ and their like are words and stay.
_PICTURES = re.compile("[\u231a-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe00-\ufe0f\u20e3]")

# Markdown. Everything is bounded, so that it is either inside one piece of a stream or wholly outside.
_LINK = re.compile(r"\[(?P<label>[^\[\]\n]{0,100})\]\([^()\s]{0,300}\)")
_LINK_SO_FAR = re.compile(r"\[[^\[\]\n]{0,100}(?:\](?:\([^()\s]{0,300})?)?")
_FENCE = r"`{3,8}[^\S\n]{0,8}\w{0,30}[^\S\n]{0,8}(?=\n|$)"
_LINE_MARKS = r"(?:(?:#{1,6}|[-+*•>])[ \t]{1,8}|[・●■◆◇□▼▶▪]){1,3}"
_RUN = r"(?P<run>\*+|_+|~+|`+)"
_MARKUP = re.compile(rf"(?<=\n)[^\S\n]*(?:{_FENCE}|{_LINE_MARKS})|{_LINK.pattern}|{_RUN}")

_FULL_STOPS = "。！？"
_STOPS = _FULL_STOPS + "!?."
_CLOSING = "」』）】”’)\"'*_~`"  # stays with the sentence that it closes
_BRACKETS = {"「": 1, "『": 1, "（": 1, "【": 1, "」": -1, "』": -1, "）": -1, "】": -1}
_QUOTING = frozenset([*_BRACKETS, *_CLOSING, "“", "‘", "("])
_ABBREVIATIONS = frozenset({"etc", "vol", "fig", "approx", "dept"})


def clean(text: str, limit: int = LIMIT) -> str:
    """What a model wrote, fit to be spoken and to stand in XML: no markup, pictures, control or invisible characters.

    White space becomes single spaces. A text over `limit` characters ends with the last sentence that fits.
    """
    cleaned = _without_markup(_speakable(text), before="\n", after="\n")
    return cleaned if len(cleaned) <= limit else _cut(cleaned, limit)


def _speakable(text: str) -> str:
    """`text` without the characters that nobody can say or see, or that XML forbids; each is judged by itself."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_spoken, _PICTURES.sub("", text)))


def _spoken(char: str) -> str:
    if char in "\n\r\x85\u2028\u2029":
        return "\n"
    match unicodedata.category(char):
        case "Cc":
            return " "
        case "Cf" | "Cs" | "Co" | "Cn":  # invisible (bidi, zero width), lone surrogate, private use, no character
            return ""
        case _:
            return char


def _without_markup(text: str, *, before: str, after: str) -> str:
    """`text` without Markdown, as the part of a whole that stands between the characters `before` and `after`."""
    whole = before + text + after
    parts = []
    position = len(before)
    for match in _MARKUP.finditer(whole, position, len(whole) - len(after)):
        parts += [whole[position : match.start()], _replacement(match, whole)]
        position = match.end()
    parts.append(whole[position : len(whole) - len(after)])
    return " ".join("".join(parts).split())


def _replacement(match: re.Match[str], whole: str) -> str:
    if match["label"] is not None:
        return _without_markup(match["label"], before="[", after="]")
    run = match["run"]
    if run is None:  # what begins a line
        return ""
    left, right = whole[match.start() - 1], whole[match.end()]
    if run == "*" and left != "*" != right:
        between_spaces = left in " \t" and right in " \t"
        return "×" if between_spaces or (left.isdigit() and right.isdigit()) else ""
    is_single = len(run) == 1 and run not in (left, right)
    return run if is_single and run in "_~" else ""


def _cut(text: str, limit: int) -> str:
    head = text[:limit]
    ends = [match.end() for match in re.finditer(rf"[{_FULL_STOPS}!?]+[」』）】”]*|\. ", head)]
    if ends:
        return head[: ends[-1]].strip()
    pause = max(head.rfind("、"), head.rfind(" "))
    return head[: pause + 1].strip(" 、") or head


class Sentences:
    """Splits a text that comes in pieces into sentences, each cleaned, as early as each can be told.

    How the text is cut into pieces makes no difference to the sentences. Joined, they are the cleaned whole but for
    white space, full stops in a row, and an end without a word in it.
    """

    def __init__(self) -> None:
        self._text = ""
        self._before = "\n"  # the character before `_text`
        self._open = 0  # brackets that sentences before have opened
        self._stopped = False  # a 。 has just ended a sentence; more of them say nothing

    def feed(self, piece: str) -> list[str]:
        """The sentences that `piece` completes."""
        self._text += _speakable(piece)
        return self._sentences(final=False)

    def finish(self) -> list[str]:
        """What is left, when no more comes."""
        sentences = self._sentences(final=True)
        rest, self._text = self._text, ""
        if _has_word(rest) and (last := _without_markup(rest, before=self._before, after="\n")):
            sentences.append(last)
        return sentences

    def _sentences(self, *, final: bool) -> list[str]:
        sentences = []
        self._skip_space()
        while cut := _next_cut(self._text, final=final, quoted=self._open > 0):
            piece, self._text = self._text[:cut], self._text[cut:]
            # Behind a 。 that ended the sentence at once, nothing is known of what follows, nor does it matter.
            after = "\n" if piece.endswith("。") else self._text[:1] or "\n"
            if sentence := _without_markup(piece, before=self._before, after=after):
                sentences.append(sentence)
            self._before = piece[-1]
            self._open = max(0, self._open + sum(_BRACKETS.get(char, 0) for char in piece))
            self._stopped = piece.endswith("。")
            self._skip_space()
        return sentences

    def _skip_space(self) -> None:
        text = self._text.lstrip()
        while self._stopped and text.startswith("。"):
            text = text[1:].lstrip()
        if text:
            self._stopped = False
        space = self._text[: len(self._text) - len(text)]
        if "\n" in space:
            self._before = "\n"
        elif space and self._before != "\n":  # an indented line still begins there
            self._before = space[-1]
        self._text = text


def _next_cut(text: str, *, final: bool, quoted: bool) -> int:
    """Where the first sentence of `text` ends; 0: that cannot be told yet, or nowhere. `quoted`: a bracket is open.

    Each decision waits for the character that settles it, so that it does not depend on how the text arrived. A plain
    。 needs no other to settle it: a caller waits for that sentence, and the next character can be 0.1 s away.
    """
    i = pause = 0
    while i < len(text):
        if text[i] == "[":
            if link := _LINK.match(text, i):
                i = link.end()
                continue
            if not final and _LINK_SO_FAR.fullmatch(text, i):
                return 0
        if i >= HARD_CUT:
            return pause if pause > HARD_CUT // 2 else i
        if text[i] in "、，,; \t\u3000":
            pause = i + 1
        if text[i] == "\n" or (text[i] == "、" and i >= COMMA_AFTER):
            if _has_word(text[:i]):
                return i + 1
        elif text[i] in _STOPS:
            if text[i] == "。" and not quoted and _QUOTING.isdisjoint(text[:i]) and _has_word(text[:i]):
                return i + 1
            end = _end_of_stop(text, i)
            if end == len(text) and not final:
                return 0
            if _is_end(text, i, end) and _has_word(text[:i]):
                return end
            i = end
            continue
        i += 1
    return 0


def _end_of_stop(text: str, start: int) -> int:
    end = start + 1
    while end < min(len(text), HARD_CUT) and text[end] in _STOPS + _CLOSING:
        end += 1
    return end


def _is_end(text: str, start: int, end: int) -> bool:
    """Whether the stops (and what closes after them) in `text[start:end]` end a sentence."""
    if any(stop in _FULL_STOPS for stop in text[start:end]):
        return True
    follower = text[end : end + 1] or "\n"
    if text[start] == ".":  # neither 3.5 nor example.com, e.g. or etc.
        word = re.search(r"(?<![A-Za-z.])[A-Za-z]{3,40}$", text[max(0, start - 41) : start])
        return follower.isspace() and word is not None and word[0].lower() not in _ABBREVIATIONS
    return follower.isspace() or not follower.isascii()  # not the ? of an address


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))


# As they are without っ, ー and punctuation. None is made of others, so a text matches in one way only or not at all.
_BACKCHANNELS = (
    "はい|うん|うむ|え|あ|お|へ|ほう?|ふう?ん|ふむ|ん|なるほど(?:ですね|です|ね)?|確かに|たしかに|そか"
    "|そう(?:か|ですよ?ね|ですか|なん(?:だ|です)(?:か|ね)?|だよ?ね|ね)?"
    "|(?:分か|わか)りました|了解(?:です|しました)?|承知しました|おけ|オケ"
    "|ok|okay|yeah|yes|yep|uhhuh|mhm|isee|right|sure|hmm|mm"
)
# Compiled when first needed, which is never in the functions.
_BACKCHANNEL = rf"(?:{_BACKCHANNELS})+"
_NOT_SOUND = r"[\W_ー〜っッぁぃぅぇぉァィゥェォ]+"
_BACKCHANNEL_LIMIT = 30  # characters; whoever says more has something to say


def is_backchannel(text: str) -> bool:
    """Whether this only shows that someone listens (はい, うんうん, なるほど), and asks for no turn."""
    sounds = re.sub(_NOT_SOUND, "", unicodedata.normalize("NFKC", text[: 4 * _BACKCHANNEL_LIMIT]).lower())
    return 0 < len(sounds) <= _BACKCHANNEL_LIMIT and re.fullmatch(_BACKCHANNEL, sounds) is not None


def spoken_seconds(text: str) -> float:
    """About how long a Japanese voice takes to say `text`, in seconds.

    An estimate: 7.5 characters a second of kana and kanji mixed, 16 of Latin letters, a digit by its name, and
    pauses for punctuation.
    """
    seconds = 0.0
    for char in unicodedata.normalize("NFKC", text):
        if char in "。!?\n":
            seconds += 0.45
        elif char in "、,.:;…":
            seconds += 0.25
        elif char.isdigit():
            seconds += 0.3
        elif char.isascii():
            seconds += 1 / 16
        elif char.isalpha() or char == "ー":
            seconds += 1 / 7.5
    return seconds


def masked(number: str) -> str:
    """A telephone number as a log may show it (`+81******78`); anything else, such as a SIP address, as `***`."""
    if not re.fullmatch(r"\+?[0-9]{7,15}", number):
        return "***"
    return f"{number[:3]}******{number[-2:]}"
