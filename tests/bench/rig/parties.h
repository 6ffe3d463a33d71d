/* Who takes part in the rig: calls, the vendors' sessions behind them, and the stamps by which audio is recognised. */
#pragma once
#include "ws.h"

#include "clockwork.h"

#define FRAME 160 /* bytes of mu-law in 20 ms */
#define STAMP 24  /* of them say whose frame it is, and which */
#define MOST_MARKS 1024

enum { CALL, SESSION };
enum { NO_VENDOR, REALTIME, AMIVOICE };
enum { AT_FRAME, AT_STEP, AT_MARK, AT_BARGE, AT_OPEN, AT_SHUT, AT_HANG_UP, AT_END };

/* One direction's audio, piece by piece: when each was sent, and the seconds it took (negative: not here yet). */
typedef struct {
    double *sent;
    float *took;
    uint32_t count;
} Track;

typedef struct Session Session;
typedef struct {
    Conn conn;
    uint32_t id, chance;
    bool late, cut_off, stray, flooding, gone, hurried;
    char sid[40], stream[40], account[40], *parameters;
    double asked_at, opened_at, heard_at, next_frame, play_ends, barged_at, answering_since;
    char constant[256]; /* base64 of what follows a frame's stamp */
    Track up, down;
    char marks[MOST_MARKS][40];
    double mark_due[MOST_MARKS];
    uint32_t first_mark, next_mark;
    Session *session;
} Call;

struct Session {
    Conn conn;
    int vendor, response, left_ms;
    bool responding, flooding, pouring, gone;
    double turn_at; /* when this turn of the conversation began */
    double pours_at;
    double speech_ends;
    Call *call;
};

static Call *calls;
static uint32_t call_count, most_pieces;
static double window_opens, window_shuts;
static uint64_t stray_frames, clears, sessions_opened, sessions_open, interruptions_unanswered;
static Sample setups, late_setups, first_frames, first_sounds, barge_ins, lateness;
static bool turns, ending;

/* 0 to 1, of the call's own row: the same call goes the same way with every relay, however they take turns. */
static double call_chance(Call *call) { return chance_next(&call->chance) / 4294967296.0; }

static bool in_window(double at) { return window_opens && at >= window_opens && !window_shuts; }

/* The rest of a frame is constant or chance; the numbers are spread out so that no run of bytes looks like them. */
static void stamp(uint8_t *frame, char direction, uint32_t call, uint32_t piece) {
    memset(frame, 0x55, STAMP);
    frame[0] = 'R', frame[1] = 'B', frame[2] = direction, frame[3] = 0x5a;
    for (int i = 0; i < 4; i++) frame[4 + 2 * i] = call >> (8 * i), frame[5 + 2 * i] = piece >> (8 * i);
}

static bool read_stamp(const uint8_t *frame, char direction, uint32_t *call, uint32_t *piece) {
    if (frame[0] != 'R' || frame[1] != 'B' || frame[2] != direction || frame[3] != 0x5a) return false;
    *call = *piece = 0;
    for (int i = 0; i < 4; i++) {
        *call |= (uint32_t)frame[4 + 2 * i] << (8 * i);
        *piece |= (uint32_t)frame[5 + 2 * i] << (8 * i);
    }
    return *call < call_count && *piece < most_pieces;
}

static void track_prepare(Track *track) {
    track->sent = calloc(most_pieces, sizeof(double));
    track->took = calloc(most_pieces, sizeof(float));
}

static bool track_send(Track *track, double now) {
    if (track->count >= most_pieces) return false;
    track->sent[track->count] = now, track->took[track->count++] = -1;
    return true;
}

/* What was on the way when the caller began to speak may be thrown away: nobody wants to hear it. Not lost, then. */
static void track_forgives(Track *track, double until) {
    for (uint32_t i = track->count; i-- && track->sent[i] > until - 1;)
        if (track->took[i] < 0 && track->sent[i] <= until) track->sent[i] = 0;
}

/* False for what was never sent, or has come before. */
static bool track_take(Track *track, uint32_t piece, double now) {
    if (piece >= track->count || track->took[piece] >= 0) return false;
    track->took[piece] = now - track->sent[piece];
    return true;
}
