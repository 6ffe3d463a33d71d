/* Writing frames, and the masks in them: the like of `frames.encode` and `masking`. */
#pragma once
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h> /* getentropy */
#endif

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { FIN = 0x80, MASKED = 0x80 };

/* `to` and `from` may be the same; the mask has four bytes, and begins at the first byte of the piece. */
static void copy_masked(uint8_t *to, const uint8_t *from, Py_ssize_t size, const uint8_t mask[4]) {
    uint32_t once;
    memcpy(&once, mask, 4);
    uint64_t word, twice = once | (uint64_t)once << 32;
    Py_ssize_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= twice;
        memcpy(to + i, &word, 8);
    }
    for (; i < size; i++) to[i] = from[i] ^ mask[i & 3];
}

/* Unpredictable bytes, fetched for some masks at a time: a system call for each is dear. Not by Python's os.urandom, which
 * lets other threads run, and nobody may come between while a structure of ours is being changed. */
static struct {
    uint8_t bytes[256]; /* as many as getentropy gives at once */
    size_t left;
} supply;

static bool fresh_mask(uint8_t mask[4]) {
    if (!supply.left) {
        if (getentropy(supply.bytes, sizeof supply.bytes)) return PyErr_SetFromErrno(PyExc_OSError), false;
        supply.left = sizeof supply.bytes;
    }
    supply.left -= 4;
    memcpy(mask, supply.bytes + supply.left, 4);
    return true;
}

/* As section 5.2 has it, without the mask; its size. */
static Py_ssize_t write_header(uint8_t *at, uint8_t first, Py_ssize_t length, uint8_t mask_bit) {
    at[0] = first;
    if (length < 126) {
        at[1] = (uint8_t)length | mask_bit;
        return 2;
    }
    int size = length < 1 << 16 ? 2 : 8;
    at[1] = (size == 2 ? 126 : 127) | mask_bit;
    for (int i = 0; i < size; i++) at[2 + i] = (uint8_t)((uint64_t)length >> 8 * (size - 1 - i));
    return 2 + size;
}

static Piece bytes_piece(PyObject *bytes) { return (Piece){PyBytes_AsString(bytes), PyBytes_Size(bytes)}; }

static Py_ssize_t size_of(const Piece *pieces, int count) {
    Py_ssize_t size = 0;
    for (int i = 0; i < count; i++) size += pieces[i].size;
    return size;
}

/* How many bytes a frame with such a payload has. */
static Py_ssize_t frame_size(Py_ssize_t length, bool masked) {
    return length + (length < 126 ? 2 : length < 1 << 16 ? 4 : 10) + (masked ? 4 : 0);
}

/* A frame whose payload is the pieces one after the other, `length` bytes in all; false with an error. */
static bool write_frame(uint8_t *at, uint8_t first, const Piece *pieces, int count, Py_ssize_t length, bool masked) {
    uint8_t mask[4];
    at += write_header(at, first, length, masked ? MASKED : 0);
    if (masked) {
        if (!fresh_mask(mask)) return false;
        memcpy(at, mask, 4), at += 4;
    }
    uint8_t *payload = at;
    for (int i = 0; i < count; at += pieces[i++].size) memcpy(at, pieces[i].at, pieces[i].size);
    if (masked) copy_masked(payload, payload, length, mask);
    return true;
}

/* The same as an object; NULL with an error. */
static PyObject *make_frame(uint8_t first, const Piece *pieces, int count, bool masked) {
    Py_ssize_t length = size_of(pieces, count);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, frame_size(length, masked));
    if (frame && !write_frame((uint8_t *)PyBytes_AsString(frame), first, pieces, count, length, masked)) Py_CLEAR(frame);
    return frame;
}
