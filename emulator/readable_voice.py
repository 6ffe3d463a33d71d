"""A voice that can be read back: mu-law audio in which every piece tells which character it belongs to.

The emulated model speaks with it, so a listener knows exactly which words reached the caller, even when
playing was cut off in mid-sentence. It sounds like a buzz; people are not meant to listen to it.

A character lasts 133 ms (about 7.5 a second, a brisk Japanese pace) and is 76 equal blocks of 14 bytes, each
complete in itself: a mark, the code point, the character's place in the text, the block's place in the
character, four bits of the text, and a checksum. The mark has a mu-law exponent that the payload never has,
so a reader finds blocks at any offset. Every byte is loud: energy detectors hear speech throughout.
"""

import re
import zlib
from collections.abc import Iterator

CHARACTER_BYTES = 1064
_BLOCK_BYTES = 14
_BLOCKS = CHARACTER_BYTES // _BLOCK_BYTES
# Half a character that was cut at any byte still holds this many whole blocks.
_HEARD_BLOCKS = _BLOCKS // 2 - 1
_BLOCK = re.compile(rb"[\x10-\x1f\x90-\x9f][\x20-\x2f\xa0-\xaf]{13}")
_MARK = 0x18
_PAYLOAD = 0x20
_SIGN = 0x80


def seconds(text: str) -> float:
    """How long the text lasts when spoken."""
    return len(text) * CHARACTER_BYTES / 8000


def speak(text: str) -> bytes:
    """The text as mu-law audio at 8 kHz; the same text is always the same audio."""
    tag = zlib.crc32(text.encode("utf-8", "surrogatepass")) & 0xF
    return b"".join(_character(ord(character), place & 0xFF, tag) for place, character in enumerate(text))


def _character(code: int, place: int, tag: int) -> bytes:
    blocks = bytearray()
    for index in range(_BLOCKS):
        nibbles = [(code >> shift) & 0xF for shift in (20, 16, 12, 8, 4, 0)]
        nibbles += [place >> 4, place & 0xF, index >> 4, index & 0xF, tag]
        check = _checksum(nibbles)
        nibbles += [check >> 4, check & 0xF]
        # The sign carries nothing: it swings with the character so that the buzz has a changing pitch.
        swing = 2 + (code + place) % 5
        blocks.append(_MARK)
        blocks += bytes(
            _PAYLOAD | nibble | (_SIGN if (position // swing) % 2 else 0) for position, nibble in enumerate(nibbles)
        )
    return bytes(blocks)


def _checksum(nibbles: list[int]) -> int:
    total = 0x5A
    for nibble in nibbles:
        total = (total * 33 + nibble + 1) % 251
    return total


def read(ulaw: bytes) -> str:
    """The text heard in this audio: every character of which at least half is there; "" if there is none.

    Silence, cuts at any byte, damage, repeated frames and several utterances in a row are all read through.
    """
    heard: list[str] = []
    current: tuple[int, int, int] | None = None
    blocks: set[int] = set()
    newest = -1
    for code, place, tag, index in _blocks(ulaw):
        # The same character from its beginning is said again; a short step back is a repeated frame.
        if (code, place, tag) != current or index < newest - _HEARD_BLOCKS:
            if current and len(blocks) >= _HEARD_BLOCKS:
                heard.append(chr(current[0]))
            current, blocks, newest = (code, place, tag), set(), -1
        blocks.add(index)
        newest = index
    if current and len(blocks) >= _HEARD_BLOCKS:
        heard.append(chr(current[0]))
    return "".join(heard)


def _blocks(ulaw: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Code point, place, tag and index of every undamaged block."""
    for found in _BLOCK.finditer(ulaw):
        nibbles = [byte & 0xF for byte in found.group()[1:]]
        code = 0
        for nibble in nibbles[:6]:
            code = code << 4 | nibble
        index = nibbles[8] << 4 | nibbles[9]
        if code <= 0x10FFFF and index < _BLOCKS and _checksum(nibbles[:11]) == nibbles[11] << 4 | nibbles[12]:
            yield code, nibbles[6] << 4 | nibbles[7], nibbles[10], index
