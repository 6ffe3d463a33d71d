/* What the ruler needs of base64, SHA-1, masks and chance. Plain functions over bytes; no sockets. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static int8_t base64_value[256];

static void base64_prepare(void) {
    memset(base64_value, -1, sizeof base64_value);
    for (int i = 0; i < 64; i++) base64_value[(uint8_t)BASE64[i]] = i;
}

static size_t base64_encode(const uint8_t *from, size_t size, char *to) {
    char *p = to;
    size_t i = 0;
    for (; i + 2 < size; i += 3) {
        uint32_t v = from[i] << 16 | from[i + 1] << 8 | from[i + 2];
        *p++ = BASE64[v >> 18], *p++ = BASE64[v >> 12 & 63], *p++ = BASE64[v >> 6 & 63], *p++ = BASE64[v & 63];
    }
    if (size - i) {
        uint32_t v = from[i] << 16 | (size - i == 2 ? from[i + 1] << 8 : 0);
        *p++ = BASE64[v >> 18], *p++ = BASE64[v >> 12 & 63];
        *p++ = size - i == 2 ? BASE64[v >> 6 & 63] : '=';
        *p++ = '=';
    }
    return p - to;
}

static size_t base64_decode(const char *from, size_t size, uint8_t *to) {
    uint8_t *p = to;
    uint32_t v = 0;
    int held = 0;
    for (size_t i = 0; i < size; i++) {
        int8_t digit = base64_value[(uint8_t)from[i]];
        if (digit < 0) continue; /* padding */
        v = v << 6 | digit;
        if (++held == 4) *p++ = v >> 16, *p++ = v >> 8, *p++ = v, held = 0, v = 0;
    }
    if (held == 3) *p++ = v >> 10, *p++ = v >> 2;
    else if (held == 2) *p++ = v >> 4;
    return p - to;
}

/* RFC 3174, for at most 119 bytes: a handshake has 60. */
static void sha1(const uint8_t *data, size_t size, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t padded[128] = {0};
    memcpy(padded, data, size);
    padded[size] = 0x80;
    size_t blocks = (size + 8) / 64 + 1;
    for (int i = 0; i < 8; i++) padded[blocks * 64 - 1 - i] = (uint64_t)size * 8 >> (8 * i);
#define TURN(x, k) ((x) << (k) | (x) >> (32 - (k)))
    for (size_t block = 0; block < blocks; block++) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        const uint8_t *at = padded + 64 * block;
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)at[4 * i] << 24 | at[4 * i + 1] << 16 | at[4 * i + 2] << 8 | at[4 * i + 3];
        for (int i = 16; i < 80; i++) w[i] = TURN(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
            uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
            uint32_t t = TURN(a, 5) + f + e + k + w[i];
            e = d, d = c, c = TURN(b, 30), b = a, a = t;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
#undef TURN
    for (int i = 0; i < 20; i++) digest[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

/* RFC 6455, section 4.2.2. `key` has at most 60 characters. */
static void ws_accept_key(const char *key, char accept[64]) {
    char text[128];
    uint8_t digest[20];
    int size = snprintf(text, sizeof text, "%.60s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1((uint8_t *)text, size, digest);
    accept[base64_encode(digest, 20, accept)] = 0;
}

static void mask_bytes(uint8_t *data, size_t size, uint32_t mask) {
    uint64_t both = mask | (uint64_t)mask << 32, word;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) memcpy(&word, data + i, 8), word ^= both, memcpy(data + i, &word, 8);
    for (; i < size; i++) data[i] ^= mask >> (8 * (i & 3));
}

/* The next number of a row that is the same every time; it begins with any but 0. */
static uint32_t chance_next(uint32_t *chance) {
    *chance ^= *chance << 13, *chance ^= *chance >> 17, *chance ^= *chance << 5;
    return *chance;
}
static uint32_t rnd(void) {
    static uint32_t chance = 0x9e3779b9;
    return chance_next(&chance);
}

/* The value of a JSON string member, found by its name; what stands around it is trusted. */
static inline bool json_string(const uint8_t *text, size_t size, const char *name, const char **value, size_t *value_size) {
    char quoted[48];
    int length = snprintf(quoted, sizeof quoted, "\"%s\"", name);
    const char *end = (const char *)text + size, *at = memmem(text, size, quoted, length);
    if (!at) return false;
    for (at += length; at < end && (*at == ' ' || *at == ':'); at++);
    if (at >= end || *at++ != '"') return false;
    const char *close = memchr(at, '"', end - at);
    if (!close) return false;
    *value = at, *value_size = close - at;
    return true;
}

static inline bool contains(const uint8_t *text, size_t size, const char *word) {
    return memmem(text, size, word, strlen(word)) != NULL;
}
