"""Masking of WebSocket payloads (RFC 6455, section 5.3): the exclusive or, and the supply of masks.

It is the part of the codec that touches every byte, so it is the first that a compiled version would replace.
"""

import os


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """Mask or unmask with a mask of four bytes. As one big number: the fastest way the standard library has."""
    size = len(data)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


def fresh_mask() -> bytes:
    """Four unpredictable bytes, fetched from the system a thousand at a time: a system call for each is dear."""
    try:
        return _masks.pop()
    except IndexError:
        supply = os.urandom(4096)
        _masks.extend(supply[at : at + 4] for at in range(4, len(supply), 4))
        return supply[:4]


_masks: list[bytes] = []
# Two forked workers must not mask with the same supply.
os.register_at_fork(after_in_child=_masks.clear)
