/* Where the audio is in a message that carries some: the like of `twilio_media.caller_audio` and `realtime.audio_delta`.
 *
 * Members are found as the patterns there find them, not by reading JSON: the first place where name and value fit. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *at;
    Py_ssize_t size;
} Piece;

#define LITERAL(text) (Piece){text, sizeof text - 1}

static bool begins_with(Piece text, Piece lead) { return text.size >= lead.size && !memcmp(text.at, lead.at, lead.size); }

/* NULL when it is not there. */
static const char *find(const char *from, const char *end, Piece word) {
    return from < end ? memmem(from, end - from, word.at, word.size) : NULL;
}

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || (*at >= '\t' && *at <= '\r'))) at++;
    return at;
}

static const signed char DIGITS[256] = { /* one more than the value of a base64 digit, 0 for what is none */
    ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
    ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, ['+'] = 63, ['/'] = 64,
};

/* Many at once, which a table cannot do. */
static bool are_digits(const char *at, const char *end) {
    unsigned char odd = 0;
    for (; at < end; at++) {
        unsigned char of = (unsigned char)*at, letter = of | 0x20;
        odd |= !((letter >= 'a' && letter <= 'z') | (of >= '/' && of <= '9') | (of == '+'));
    }
    return !odd;
}

/* The end of the base64 at `at`, padding included. */
static const char *skip_base64(const char *at, const char *end) {
    const char *close = memchr(at, '"', end - at), *last = close;
    while (last && last > at && close - last < 2 && last[-1] == '=') last--;
    if (last && are_digits(at, last)) return close;
    while (at < end && DIGITS[(unsigned char)*at]) at++;
    for (int i = 0; i < 2 && at < end && *at == '='; i++) at++;
    return at;
}

static uint32_t digit(char of) { return (uint32_t)(DIGITS[(unsigned char)of] - 1); }

/* Of `size` base64 digits, without padding: as many bytes as they make. */
static void decode_base64(const char *from, Py_ssize_t size, uint8_t *to) {
    Py_ssize_t i = 0;
    for (; i + 4 <= size; i += 4, to += 3) {
        uint32_t bits = digit(from[i]) << 18 | digit(from[i + 1]) << 12 | digit(from[i + 2]) << 6 | digit(from[i + 3]);
        to[0] = bits >> 16, to[1] = bits >> 8, to[2] = bits;
    }
    uint32_t bits = 0;
    for (; i < size; i++) bits = bits << 6 | digit(from[i]);
    if (size % 4 == 2) to[0] = bits >> 4;
    else if (size % 4 == 3) to[0] = bits >> 10, to[1] = bits >> 2;
}

/* The end of a string's characters at `at` when none of them is escaped. */
static const char *skip_plain(const char *at, const char *end) {
    while (at < end && *at != '"' && *at != '\\') at++;
    return at;
}

/* The first `"name" : "value"` whose value consists of what `skip` skips (and of `least` characters at least). */
static bool find_member(const char *text, Py_ssize_t size, Piece name,
                        const char *(*skip)(const char *, const char *), Py_ssize_t least, Piece *value) {
    const char *end = text + size;
    for (const char *at = find(text, end, name); at; at = find(at + 1, end, name)) {
        const char *from = skip_space(at + name.size, end);
        if (from == end || *from != ':') continue;
        from = skip_space(from + 1, end);
        if (from == end || *from != '"') continue;
        const char *close = skip(++from, end);
        if (close < end && *close == '"' && close - from >= least) {
            *value = (Piece){from, close - from};
            return true;
        }
    }
    return false;
}

static const char *skip_media(const char *at, const char *end) {
    return end - at > 5 && !memcmp(at, "media", 5) ? at + 5 : at;
}

static bool find_caller_audio(const char *text, Py_ssize_t size, Piece *payload) {
    const Piece compact = LITERAL("{\"event\":\"media\""), lead = LITERAL("\"payload\":\"");
    const char *end = text + size;
    if (begins_with((Piece){text, size}, compact)) {
        const char *at = find(text, end, lead);
        if (at) {
            at += lead.size;
            const char *close = skip_base64(at, end);
            *payload = (Piece){at, close - at};
            return close < end && *close == '"';
        }
    }
    Piece event;
    return find_member(text, size, LITERAL("\"event\""), skip_media, 5, &event) &&
           find_member(text, size, LITERAL("\"payload\""), skip_base64, 0, payload);
}

static bool find_audio_delta(const char *text, Py_ssize_t size, Piece *payload, Piece *item, Piece *response) {
    const Piece type = LITERAL("\"response.output_audio.delta\"");
    const Py_ssize_t near = 400; /* from either end: between them is the audio */
    const char *end = text + size, *head = size > near ? text + near : end, *tail = size > near ? end - near : text;
    return (find(text, head, type) || find(tail, end, type)) &&
           find_member(text, size, LITERAL("\"delta\""), skip_base64, 0, payload) &&
           find_member(text, size, LITERAL("\"item_id\""), skip_plain, 1, item) &&
           find_member(text, size, LITERAL("\"response_id\""), skip_plain, 1, response);
}
