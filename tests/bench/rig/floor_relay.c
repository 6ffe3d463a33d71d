/* The least that a relay can cost: one epoll loop that rewraps frames. A ruler, not a product: it reads no JSON, knows
 * no calls, sends no marks and handles no errors.
 *
 *     floor_relay LISTEN_PORT VENDOR_PORT realtime|amivoice [CERTIFICATE.pem]
 *
 * With a certificate the vendor's side is TLS, as in production; it is not checked. */
#include "ws.h"

enum { CALLER, VENDOR };
typedef struct Pair {
    Conn caller, vendor;
    char stream[64];
    bool ready;
} Pair;

static int vendor_port;
static bool amivoice;

/* The member stands first behind `lead`: the rig writes compact JSON. */
static bool member(uint8_t *text, size_t size, const char *lead, char **value, size_t *value_size) {
    char *end = (char *)text + size, *at = memmem(text, size, lead, strlen(lead));
    if (!at) return false;
    at += strlen(lead);
    char *close = memchr(at, '"', end - at);
    *value = at, *value_size = close ? close - at : 0;
    return close != NULL;
}

static void on_open(Conn *c) {
    Pair *pair = c->user;
    if (c->kind == CALLER) {
        pair->vendor.kind = VENDOR, pair->vendor.user = pair;
        ws_connect(&pair->vendor, vendor_port, amivoice ? "/v1/nolog/" : "/v1/realtime?model=m", "", true);
    } else if (amivoice) ws_text(c, "s MULAW -a-general authorization=x");
    else {
        ws_text(c, "{\"type\":\"session.update\",\"session\":{\"type\":\"realtime\"}}");
        ws_text(c, "{\"type\":\"response.create\"}");
        pair->ready = true;
    }
}

static void from_caller(Pair *pair, uint8_t *text, size_t size) {
    static char out[1 << 17];
    char *value;
    size_t length;
    if (pair->ready && member(text, size, "\"payload\":\"", &value, &length)) {
        if (amivoice) {
            out[0] = 'p';
            ws_send(&pair->vendor, OP_BINARY, out, 1 + base64_decode(value, length, (uint8_t *)out + 1));
            return;
        }
        size_t lead = sprintf(out, "{\"type\":\"input_audio_buffer.append\",\"audio\":\"");
        memcpy(out + lead, value, length), memcpy(out + lead + length, "\"}", 2);
        ws_send(&pair->vendor, OP_TEXT, out, lead + length + 2);
    } else if (!pair->stream[0] && member(text, size, "\"streamSid\":\"", &value, &length))
        snprintf(pair->stream, sizeof pair->stream, "%.*s", (int)length, value);
}

static void from_vendor(Pair *pair, uint8_t *text, size_t size) {
    static const char DELTA[] = "{\"type\":\"response.output_audio.delta\"";
    static char out[1 << 17];
    char *value;
    size_t length;
    if (amivoice) {
        if (size == 1 && text[0] == 's') pair->ready = true;
    } else if (size > sizeof DELTA && !memcmp(text, DELTA, sizeof DELTA - 1) &&
               member(text, size, "\"delta\":\"", &value, &length)) {
        size_t lead = sprintf(out, "{\"event\":\"media\",\"streamSid\":\"%s\",\"media\":{\"payload\":\"", pair->stream);
        memcpy(out + lead, value, length), memcpy(out + lead + length, "\"}}", 3);
        ws_send(&pair->caller, OP_TEXT, out, lead + length + 3);
    }
}

static void on_message(Conn *c, int op, uint8_t *data, size_t size) {
    (void)op;
    if (c->kind == CALLER) from_caller(c->user, data, size);
    else from_vendor(c->user, data, size);
}

static void on_close(Conn *c) {
    Pair *pair = c->user;
    Conn *other = c->kind == CALLER ? &pair->vendor : &pair->caller;
    if (other->fd > 0) conn_drop(other);
}

int main(int argc, char **argv) {
    if (argc < 4) die("floor_relay LISTEN_PORT VENDOR_PORT realtime|amivoice [CERTIFICATE.pem]");
    int port = atoi(argv[1]);
    vendor_port = atoi(argv[2]), amivoice = argv[3][0] == 'a';
    if (argc > 4) tls_load(argv[4]);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){65536, 65536});
    base64_prepare();
    epoll_fd = epoll_create1(0);
    int listener = ws_listen(&port);
    struct epoll_event events[256];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 256, -1), fd;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                conn_event(events[i].data.ptr, events[i].events);
                continue;
            }
            while ((fd = accept(listener, NULL, NULL)) >= 0) {
                Pair *pair = calloc(1, sizeof *pair);
                pair->caller.kind = CALLER, pair->caller.user = pair;
                conn_begin(&pair->caller, fd, false);
            }
        }
    }
}
