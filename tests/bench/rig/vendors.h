/* The vendors' side: OpenAI Realtime, which answers 3 s of the caller's speech with 5 s of its own at twice real time and
 * is talked over in every fourth answer, and AmiVoice, which reports words twice a second.
 *
 * Sources: `openai.types.realtime` of the openai package; AmiVoice API manual. Only what a relay can notice is here. */
#pragma once
#include "parties.h"

#define TURN_SECONDS 8.0
#define SPEECH_SECONDS 3.0
#define ANSWER_MS 5000
#define GREETING_MS 200
#define PLAYS_ON_SECONDS 2.6 /* after the last of it was sent, the caller still hears an answer */
#define BARGE_IN_SECONDS 1.5 /* after the answer's first sound */
#define INTERIM_SECONDS 0.5

static void event(Session *s, const char *type, const char *more) {
    char text[4096];
    int size = snprintf(text, sizeof text, "{\"type\":\"%s\",\"event_id\":\"event_CfTq0123456789abcdefg\"%s}", type, more);
    ws_send(&s->conn, OP_TEXT, text, size);
}

/* `type` and the members that say which part of which response it is about, then `more`. */
static void part_event(Session *s, const char *type, const char *more) {
    char text[1024];
    snprintf(text, sizeof text,
             ",\"response_id\":\"resp_CfTq%015d\",\"item_id\":\"item_CfTq%015d\",\"output_index\":0,\"content_index\":0%s",
             s->response, s->response, more);
    event(s, type, text);
}

static void response_event(Session *s, const char *type, const char *status, bool whole) {
    char text[2048];
    snprintf(text, sizeof text,
             ",\"response\":{\"object\":\"realtime.response\",\"id\":\"resp_CfTq%015d\",\"status\":\"%s\","
             "\"status_details\":null,\"output\":[%s],\"conversation_id\":\"conv_CfTq000000000000001\"%s}",
             s->response, status,
             whole ? "{\"id\":\"item_CfTq\",\"object\":\"realtime.item\",\"type\":\"message\",\"status\":\"completed\","
                     "\"role\":\"assistant\",\"content\":[{\"type\":\"output_audio\",\"transcript\":\"Certainly. The store on"
                     " Meiji street is open from ten in the morning to eight in the evening, every day but Tuesday.\"}]}"
                   : "",
             whole ? ",\"usage\":{\"total_tokens\":253,\"input_tokens\":132,\"output_tokens\":121,\"input_token_details\":"
                     "{\"text_tokens\":119,\"audio_tokens\":13,\"cached_tokens\":64},\"output_token_details\":"
                     "{\"text_tokens\":30,\"audio_tokens\":91}}"
                   : "");
    event(s, type, text);
}

static void audio_delta(Session *s, int ms) {
    static uint8_t audio[1 << 13];
    static char text[1 << 15];
    Call *call = s->call;
    size_t bytes = ms * 8;
    memset(audio, 0x2b, bytes);
    stamp(audio, 'D', call->id, call->down.count);
    int size = sprintf(text,
                       "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_CfTq0123456789abcdefg\","
                       "\"response_id\":\"resp_CfTq%015d\",\"item_id\":\"item_CfTq%015d\",\"output_index\":0,"
                       "\"content_index\":0,\"delta\":\"", s->response, s->response);
    size += base64_encode(audio, bytes, text + size);
    memcpy(text + size, "\"}", 2);
    if (s->flooding || s->pouring || track_send(&call->down, now_s())) ws_send(&s->conn, OP_TEXT, text, size + 2);
}

static void answer_begins(Session *s, double now, int ms) {
    s->response++, s->responding = true, s->left_ms = ms - 100;
    response_event(s, "response.created", "in_progress", false);
    part_event(s, "response.output_item.added",
               ",\"item\":{\"object\":\"realtime.item\",\"type\":\"message\",\"status\":\"in_progress\","
               "\"role\":\"assistant\",\"content\":[]}");
    s->call->answering_since = now_s();
    audio_delta(s, 100);
    timer_set(now + 0.05, AT_STEP, s);
    if ((s->response + s->call->id) % 4 == 0) timer_set(now + BARGE_IN_SECONDS, AT_BARGE, s);
}

static void answer_ends(Session *s, const char *status) {
    part_event(s, "response.output_audio.done", "");
    part_event(s, "response.output_audio_transcript.done",
               ",\"transcript\":\"Certainly. The store is open from ten in the morning.\"");
    response_event(s, "response.done", status, true);
    event(s, "rate_limits.updated",
          ",\"rate_limits\":[{\"name\":\"tokens\",\"limit\":40000,\"remaining\":39000,\"reset_seconds\":1.5}]");
    s->responding = false;
}

static void speech_starts(Session *s, double ends) {
    char text[128];
    snprintf(text, sizeof text, ",\"audio_start_ms\":%u,\"item_id\":\"item_u%d\"", s->call->up.count * 20, s->response);
    event(s, "input_audio_buffer.speech_started", text);
    s->speech_ends = ends;
    timer_set(s->speech_ends, AT_STEP, s);
}

static void speech_stops(Session *s) {
    char text[256];
    snprintf(text, sizeof text, ",\"audio_end_ms\":%u,\"item_id\":\"item_u%d\"", s->call->up.count * 20, s->response);
    event(s, "input_audio_buffer.speech_stopped", text);
    event(s, "input_audio_buffer.committed", text);
    snprintf(text, sizeof text, ",\"item_id\":\"item_u%d\",\"content_index\":0,\"transcript\":\"明日の朝、開いていますか。\"",
             s->response);
    event(s, "conversation.item.input_audio_transcription.completed", text);
    s->speech_ends = 0;
}

/* The caller talks over the answer: it ends here, and the relay has to silence what it has passed on. */
static void caller_barges_in(Session *s, double now) {
    if (!s->responding || s->conn.state != OPEN || window_shuts) return;
    if (s->call->barged_at && in_window(now)) interruptions_unanswered++;
    s->call->barged_at = now_s();
    speech_starts(s, now + SPEECH_SECONDS);
    answer_ends(s, "cancelled");
}

/* Behind the greeting, anywhere in a turn: the calls are not all at the same place, and as busy at once as they will be. */
static void conversation_joins(Session *s, double now) {
    double at = call_chance(s->call) * TURN_SECONDS, left_ms = (SPEECH_SECONDS + ANSWER_MS / 2000.0 - at) * 2000;
    s->turn_at = now - at;
    if (at < SPEECH_SECONDS) speech_starts(s, now + SPEECH_SECONDS - at);
    else if (left_ms > 200) answer_begins(s, now, (int)left_ms / 20 * 20); /* whole frames: a stamp has to fit */
    else timer_set(s->turn_at += TURN_SECONDS, AT_STEP, s);
}

static void realtime_step(Session *s, double now) {
    static const int PIECES_MS[] = {20, 40, 60, 100, 200};
    if (s->responding) {
        int ms = PIECES_MS[(int)(call_chance(s->call) * 5)];
        if (ms > s->left_ms) ms = s->left_ms;
        audio_delta(s, ms);
        part_event(s, "response.output_audio_transcript.delta", ",\"delta\":\" morning\"");
        if ((s->left_ms -= ms) > 0) timer_set(now + ms / 2000.0, AT_STEP, s);
        else {
            answer_ends(s, "completed");
            if (!s->turn_at) {
                conversation_joins(s, now);
                return;
            }
            s->turn_at += TURN_SECONDS;
            if (s->turn_at < now + PLAYS_ON_SECONDS) s->turn_at = now + PLAYS_ON_SECONDS;
            timer_set(s->turn_at, AT_STEP, s);
        }
    } else if (s->speech_ends && now >= s->speech_ends - 1e-6) {
        speech_stops(s);
        answer_begins(s, now, ANSWER_MS);
    } else if (!s->speech_ends) speech_starts(s, now + SPEECH_SECONDS);
}

static const char WORDS[] =
    "{\"results\":[{\"confidence\":0.98,\"starttime\":100,\"endtime\":2900,\"tokens\":[{\"written\":\"\\u660e\\u65e5\"},"
    "{\"written\":\"\\u306e\\u671d\"},{\"written\":\"\\u958b\\u3044\\u3066\\u3044\\u307e\\u3059\\u304b\"}],"
    "\"text\":\"\\u660e\\u65e5\\u306e\\u671d\\u958b\\u3044\\u3066\\u3044\\u307e\\u3059\\u304b\"}],"
    "\"text\":\"\\u660e\\u65e5\\u306e\\u671d\\u958b\\u3044\\u3066\\u3044\\u307e\\u3059\\u304b\"";

static void amivoice_step(Session *s, double now) {
    char text[1024];
    if (s->speech_ends && now >= s->speech_ends - 1e-6) {
        snprintf(text, sizeof text, "E %u", s->call->up.count * 20);
        ws_text(&s->conn, text);
        snprintf(text, sizeof text, "A %s,\"code\":\"\",\"message\":\"\"}", WORDS);
        ws_text(&s->conn, text);
        s->speech_ends = 0;
        timer_set(s->turn_at += TURN_SECONDS, AT_STEP, s);
        return;
    }
    if (!s->turn_at || (turns && !s->speech_ends)) {
        if (!s->turn_at) s->turn_at = now;
        s->speech_ends = turns ? now + SPEECH_SECONDS : 0; /* without turns the caller never stops */
        snprintf(text, sizeof text, "S %u", s->call->up.count * 20);
        ws_text(&s->conn, text);
    } else {
        snprintf(text, sizeof text, "U %s}", WORDS);
        ws_text(&s->conn, text);
    }
    double next = now + INTERIM_SECONDS;
    timer_set(s->speech_ends && s->speech_ends < next ? s->speech_ends : next, AT_STEP, s);
}

/* Flooding: twice and more what a relay should put up with. Pouring: speech at ten times the speed it is heard at. */
static void session_pours(Session *s, double now) {
    char words[1024];
    if (now < s->pours_at) return; /* a timer of the conversation that was before */
    snprintf(words, sizeof words, "U %s}", WORDS);
    for (int i = s->flooding ? 100 : 1; i && s->conn.state == OPEN && !s->conn.out_size; i--) {
        if (s->vendor == REALTIME) audio_delta(s, 200);
        else ws_text(&s->conn, words);
    }
    timer_set(s->pours_at = now + (s->flooding ? 0.01 : 0.02), AT_STEP, s);
}

static void session_step(Session *s, double now) {
    if (s->conn.state != OPEN || window_shuts) return;
    if (s->gone) return;
    if (s->flooding || s->pouring) session_pours(s, now);
    else if (s->vendor == REALTIME) realtime_step(s, now);
    else amivoice_step(s, now);
}

/* The caller's audio has come through; the first piece says whose session this is. */
static void session_hears(Session *s, const uint8_t *audio, size_t size) {
    double now = now_s();
    for (size_t at = 0; at + STAMP <= size; at += FRAME) {
        uint32_t whose, piece;
        if (!read_stamp(audio + at, 'U', &whose, &piece)) {
            stray_frames++;
            continue;
        }
        Call *call = &calls[whose];
        if (!s->call) {
            s->call = call, call->session = s;
            if (s->vendor == AMIVOICE) timer_set(now + call_chance(call) * INTERIM_SECONDS, AT_STEP, s);
            else answer_begins(s, now, GREETING_MS);
        }
        if (call != s->call || !track_take(&call->up, piece, now)) stray_frames++;
        if (!call->heard_at) call->heard_at = now;
    }
}

static void session_opens(Session *s) {
    s->vendor = contains((uint8_t *)s->conn.target, strlen(s->conn.target), "realtime") ? REALTIME : AMIVOICE;
    sessions_opened++, sessions_open++;
    if (s->vendor == REALTIME)
        event(s, "session.created",
              ",\"session\":{\"type\":\"realtime\",\"object\":\"realtime.session\",\"id\":\"sess_CfTq\",\"model\":\"m\","
              "\"output_modalities\":[\"audio\"],\"instructions\":\"\",\"tools\":[],\"tool_choice\":\"auto\"}");
}

static void session_message(Session *s, int op, uint8_t *data, size_t size) {
    static uint8_t audio[1 << 18];
    const char *value;
    size_t length;
    if (s->vendor == AMIVOICE) {
        if (op == OP_BINARY && size && data[0] == 'p') session_hears(s, data + 1, size - 1);
        else if (size && data[0] == 's') ws_text(&s->conn, "s");
        else if (size && data[0] == 'e') ws_text(&s->conn, "e");
    } else if (contains(data, size < 60 ? size : 60, "input_audio_buffer.append")) {
        if (json_string(data, size, "audio", &value, &length)) session_hears(s, audio, base64_decode(value, length, audio));
    } else if (contains(data, size < 60 ? size : 60, "session.update")) {
        event(s, "session.updated",
              ",\"session\":{\"type\":\"realtime\",\"object\":\"realtime.session\",\"id\":\"sess_CfTq\",\"model\":\"m\","
              "\"output_modalities\":[\"audio\"],\"instructions\":\"\",\"tools\":[],\"tool_choice\":\"auto\"}");
    } else if (contains(data, size < 60 ? size : 60, "conversation.item.truncate"))
        event(s, "conversation.item.truncated", ",\"item_id\":\"item_CfTq\",\"content_index\":0,\"audio_end_ms\":1500");
}
