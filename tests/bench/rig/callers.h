/* Twilio's side: media streams as it opens them, a frame every 20 ms, marks that come back when the audio before them
 * has been played. Source: Twilio docs, "Media Streams - WebSocket messages". */
#pragma once
#include "parties.h"

static void call_starts(Call *call) {
    char text[4096];
    ws_text(&call->conn, "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}");
    snprintf(text, sizeof text,
             "{\"event\":\"start\",\"sequenceNumber\":\"1\",\"start\":{\"accountSid\":\"%s\",\"streamSid\":\"%s\","
             "\"callSid\":\"%s\",\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\","
             "\"sampleRate\":8000,\"channels\":1},\"customParameters\":%s},\"streamSid\":\"%s\"}",
             call->account, call->stream, call->sid, call->parameters, call->stream);
    ws_text(&call->conn, text);
    call->next_frame = now_s() + call_chance(call) * 0.02;
    timer_set(call->next_frame, AT_FRAME, call);
}

/* All that the relay takes, and that it should take ill. */
static void call_floods(Call *call) {
    for (int i = 0; i < 200 && call->conn.state == OPEN && !call->conn.out_size; i++) ws_text(&call->conn, "{\"event\":\"mark\"}");
    timer_set(call->next_frame += 0.002, AT_FRAME, call);
}

static void call_frame(Call *call, double due) {
    char text[1024], head[40];
    uint8_t stamped[STAMP];
    if (call->conn.state != OPEN || ending || call->gone) return;
    if (call->flooding) {
        call_floods(call);
        return;
    }
    double now = now_s();
    uint32_t piece = call->up.count;
    if (!track_send(&call->up, now)) return;
    if (in_window(now)) sample_add(&lateness, now - due);
    stamp(stamped, 'U', call->id, piece);
    head[base64_encode(stamped, STAMP, head)] = 0;
    int size = snprintf(text, sizeof text,
                        "{\"event\":\"media\",\"sequenceNumber\":\"%u\",\"media\":{\"track\":\"inbound\",\"chunk\":\"%u\","
                        "\"timestamp\":\"%u\",\"payload\":\"%s%s\"},\"streamSid\":\"%s\"}",
                        piece + 2, piece + 1, piece * 20, head, call->constant, call->stream);
    ws_send(&call->conn, OP_TEXT, text, size);
    timer_set(call->next_frame += call->hurried ? 0.02 / 3 : 0.02, AT_FRAME, call);
}

static void call_plays(Call *call, const char *base64, size_t size, double now) {
    static uint8_t audio[1 << 17];
    size_t bytes = base64_decode(base64, size, audio);
    if (call->answering_since) {
        if (in_window(now)) sample_add(&first_sounds, now - call->answering_since);
        call->answering_since = 0;
    }
    call->play_ends = (call->play_ends > now ? call->play_ends : now) + bytes / 8000.0;
    uint32_t whose, piece;
    if (bytes < STAMP || !read_stamp(audio, 'D', &whose, &piece)) return;
    if ((whose != call->id || !track_take(&call->down, piece, now)) && !call->stray) stray_frames++;
}

static void mark_returns(Call *call) {
    char text[256];
    snprintf(text, sizeof text,
             "{\"event\":\"mark\",\"sequenceNumber\":\"%u\",\"streamSid\":\"%s\",\"mark\":{\"name\":\"%s\"}}",
             call->up.count + 2, call->stream, call->marks[call->first_mark++ % MOST_MARKS]);
    ws_text(&call->conn, text);
}

static void mark_due(Call *call, double now) {
    if (call->first_mark != call->next_mark && call->mark_due[call->first_mark % MOST_MARKS] <= now) mark_returns(call);
}

static void call_message(Call *call, uint8_t *text, size_t size) {
    const char *value;
    size_t length;
    double now = now_s();
    if (contains(text, size, "\"media\"") && json_string(text, size, "payload", &value, &length)) {
        call_plays(call, value, length, now);
    } else if (contains(text, size, "\"mark\"") && json_string(text, size, "name", &value, &length)) {
        if (call->next_mark - call->first_mark == MOST_MARKS) {
            if (!call->stray) die("too many marks wait");
            return;
        }
        uint32_t at = call->next_mark++ % MOST_MARKS;
        snprintf(call->marks[at], sizeof call->marks[at], "%.*s", (int)length, value);
        call->mark_due[at] = call->play_ends;
        timer_set(call->play_ends, AT_MARK, call);
    } else if (contains(text, size, "\"clear\"")) {
        clears++;
        if (call->barged_at) {
            if (in_window(now)) sample_add(&barge_ins, now - call->barged_at);
            track_forgives(&call->down, call->barged_at);
            call->barged_at = 0;
        }
        call->play_ends = now;
        while (call->first_mark != call->next_mark && call->conn.state == OPEN) mark_returns(call);
    }
}

static void call_hangs_up(Call *call) {
    char text[256];
    if (call->conn.state != OPEN) return;
    snprintf(text, sizeof text,
             "{\"event\":\"stop\",\"sequenceNumber\":\"%u\",\"stop\":{\"accountSid\":\"%s\",\"callSid\":\"%s\"},"
             "\"streamSid\":\"%s\"}", call->up.count + 2, call->account, call->sid, call->stream);
    ws_text(&call->conn, text);
    ws_send(&call->conn, OP_CLOSE, "\x03\xe8", 2);
}
