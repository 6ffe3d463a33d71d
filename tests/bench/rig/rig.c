/* Fake callers and fake vendors in one loop and on one clock, so that every piece of audio is timed from end to end.
 *
 *     rig --port PORT --target /ws --calls N --seconds MOST [--turns 1] [--tls CERTIFICATE.pem] [--mss BYTES]
 *
 * First it prints `vendor PORT`, where both vendors are. Then it does what it reads, a line at a time:
 *
 *     call ID LATE SIGNATURE ACCOUNT CALL_SID PARAMETERS   open this stream (SIGNATURE - for none; LATE 1: set up apart)
 *     bad KIND ID         from now on one side of this call is bad, and nothing of the call counts:
 *                         deaf-… (stops reading while the other side has much to tell it), flood-… (sends all it can),
 *                         gone-… (is silent and reads nothing, but does not hang up), bomb-… (sends frames that say
 *                         they are compressed); each with -caller or -vendor behind it
 *     window SECONDS      measure from now on; `opened` and `shut` are printed as that happens, then a line of JSON
 *
 * The end of its input ends it. */
#include "callers.h"
#include "vendors.h"

#define BACKLOG_EVENTS 512

static int relay_port;
static const char *target = "/ws";
static double end_by; /* the relay has so long to close the vendors' sessions */

static void on_open(Conn *c) {
    if (c->kind == SESSION) {
        session_opens(c->user);
        return;
    }
    Call *call = c->user;
    call->opened_at = now_s();
    sample_add(call->late ? &late_setups : &setups, call->opened_at - call->asked_at);
    call_starts(call);
}

static void on_message(Conn *c, int op, uint8_t *data, size_t size) {
    if (c->kind == CALL) call_message(c->user, data, size);
    else session_message(c->user, op, data, size);
}

static void on_close(Conn *c) {
    if (c->kind == SESSION) sessions_open -= ((Session *)c->user)->vendor != NO_VENDOR;
    else if (!ending) ((Call *)c->user)->cut_off = true;
}

static void call_opens(char *words) {
    uint32_t id;
    int late, used;
    char signature[64], account[40], sid[40], headers[128] = "";
    if (sscanf(words, "%u %d %63s %39s %39s %n", &id, &late, signature, account, sid, &used) != 5 || id >= call_count)
        die("a call that cannot be read");
    Call *call = &calls[id];
    uint8_t rest[FRAME - STAMP];
    for (size_t i = 0; i < sizeof rest; i++) rest[i] = rnd() | 0x80;
    call->constant[base64_encode(rest, sizeof rest, call->constant)] = 0;
    call->id = id, call->chance = (id + 1) * 0x9e3779b9, call->late = late, call->parameters = strdup(words + used);
    strcpy(call->account, account), strcpy(call->sid, sid);
    snprintf(call->stream, sizeof call->stream, "MZ%032u", id);
    track_prepare(&call->up), track_prepare(&call->down);
    if (strcmp(signature, "-")) snprintf(headers, sizeof headers, "X-Twilio-Signature: %s\r\n", signature);
    call->conn.kind = CALL, call->conn.user = call, call->asked_at = now_s();
    ws_connect(&call->conn, relay_port, target, headers, false);
}

/* What the kernel would still take for us would only put off the moment when the other side notices. */
static void stop_reading(Conn *c) {
    int least = 1;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    c->deaf = true, conn_watch(c);
}

/* A frame that says it is compressed, which was never agreed on: a megabyte of zeros would take a thousand bytes. */
static void send_bomb(Conn *c) {
    uint8_t frame[8 + 1024] = {0x80 | 0x40 | OP_TEXT, 126 | (c->client ? 0x80 : 0), 1024 >> 8, 1024 & 0xFF};
    for (int i = 0; i < 1000; i++) conn_write(c, frame, sizeof frame - (c->client ? 0 : 4)); /* the mask is all zeros */
}

static void turns_bad(const char *words) {
    char kind[16];
    uint32_t id;
    if (sscanf(words, "%15s %u", kind, &id) != 2 || id >= call_count) die("a bad call that cannot be read");
    Call *call = &calls[id];
    Session *session = call->session;
    call->stray = true;
    if (call->conn.state != OPEN || !session || session->conn.state != OPEN) die("a call that is over cannot turn bad");
    if (!strcmp(kind, "deaf-caller")) stop_reading(&call->conn), session->pouring = true, timer_set(now_s(), AT_STEP, session);
    else if (!strcmp(kind, "deaf-vendor")) stop_reading(&session->conn), call->hurried = true;
    else if (!strcmp(kind, "flood-caller")) call->flooding = true;
    else if (!strcmp(kind, "flood-vendor")) session->flooding = true, timer_set(now_s(), AT_STEP, session);
    else if (!strcmp(kind, "gone-caller")) call->gone = true, stop_reading(&call->conn);
    else if (!strcmp(kind, "gone-vendor")) session->gone = true, stop_reading(&session->conn);
    else if (!strcmp(kind, "bomb-caller")) send_bomb(&call->conn);
    else if (!strcmp(kind, "bomb-vendor")) send_bomb(&session->conn);
    else die("an unknown kind of bad call");
}

static void obey(char *line) {
    if (!strncmp(line, "call ", 5)) call_opens(line + 5);
    else if (!strncmp(line, "bad ", 4)) turns_bad(line + 4);
    else if (!strncmp(line, "window ", 7)) {
        timer_set(now_s(), AT_OPEN, NULL);
        timer_set(now_s() + atof(line + 7), AT_SHUT, NULL);
    } else die("a line that cannot be read");
}

/* False at the end of the input. */
static bool read_orders(void) {
    static char buffer[1 << 16];
    static size_t size;
    ssize_t got = read(STDIN_FILENO, buffer + size, sizeof buffer - size - 1);
    if (got < 0) return errno == EAGAIN;
    size += got;
    char *line = buffer, *end;
    while ((end = memchr(line, '\n', buffer + size - line))) {
        *end = 0;
        obey(line);
        line = end + 1;
    }
    memmove(buffer, line, size -= line - buffer);
    return got > 0;
}

static void count_track(Track *track, Sample *sample, uint64_t *lost, uint64_t *lost_before, uint64_t *late) {
    bool any = false;
    for (uint32_t i = 0; i < track->count; i++) {
        bool came = track->took[i] >= 0;
        any |= came;
        if (!any && lost_before) ++*lost_before;
        if (track->sent[i] < window_opens || track->sent[i] >= window_shuts) continue;
        if (!came) ++*lost;
        else sample_add(sample, track->took[i]), *late += track->took[i] > 0.06;
    }
}

static void report(void) {
    Sample up = {0}, down = {0};
    uint64_t lost = 0, down_lost = 0, before = 0, late = 0, down_late = 0, cut_off = 0, frames = 0, counted = 0;
    for (uint32_t i = 0; i < call_count; i++) {
        Call *call = &calls[i];
        if (!call->asked_at || call->stray) continue;
        counted++, cut_off += call->cut_off || !call->opened_at;
        size_t taken = up.count + lost;
        count_track(&call->up, &up, &lost, &before, &late);
        frames += up.count + lost - taken;
        count_track(&call->down, &down, &down_lost, NULL, &down_late);
        if (call->heard_at) sample_add(&first_frames, call->heard_at - call->asked_at);
        if (call->barged_at) interruptions_unanswered++;
    }
    printf("{\"calls\":%lu,\"window_s\":%.3f,\"call_seconds\":%.2f,\"sessions\":%lu,\"sessions_left_open\":%lu,"
           "\"cut_off\":%lu,\"stray_frames\":%lu,\"lost\":%lu,\"lost_before_first\":%lu,\"late_60ms\":%lu,"
           "\"down_lost\":%lu,\"down_late_60ms\":%lu,\"clears\":%lu,\"barge_ins_unanswered\":%lu,",
           counted, window_shuts - window_opens, frames * 0.02, sessions_opened, sessions_open, cut_off, stray_frames,
           lost, before, late, down_lost, down_late, clears, interruptions_unanswered);
    sample_print("up_ms", &up, ",");
    sample_print("down_ms", &down, ",");
    sample_print("first_sound_ms", &first_sounds, ",");
    sample_print("barge_in_ms", &barge_ins, ",");
    sample_print("setup_ms", &setups, ",");
    sample_print("late_setup_ms", &late_setups, ",");
    sample_print("first_frame_ms", &first_frames, ",");
    sample_print("rig_late_ms", &lateness, "}\n");
    fflush(stdout);
}

static void say(const char *what) { puts(what), fflush(stdout); }

static bool on_timer(Timer timer, double now) {
    switch (timer.what) {
    case AT_FRAME: call_frame(timer.whom, timer.at); break;
    case AT_STEP: session_step(timer.whom, timer.at); break;
    case AT_BARGE: caller_barges_in(timer.whom, timer.at); break;
    case AT_MARK: mark_due(timer.whom, timer.at); break;
    case AT_OPEN: window_opens = now, say("opened"); break;
    case AT_SHUT:
        window_shuts = now, say("shut");
        timer_set(now + 1.0, AT_HANG_UP, NULL); /* what is on the way may arrive */
        break;
    case AT_HANG_UP:
        ending = true;
        for (uint32_t i = 0; i < call_count; i++) call_hangs_up(&calls[i]);
        end_by = now + 1.5;
        timer_set(now + 0.1, AT_END, NULL);
        break;
    case AT_END:
        if (sessions_open && now < end_by) {
            timer_set(now + 0.05, AT_END, NULL);
            break;
        }
        report();
        return false;
    }
    return true;
}

static void accept_sessions(int listener) {
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        Session *s = calloc(1, sizeof *s);
        s->conn.kind = SESSION, s->conn.user = s;
        conn_begin(&s->conn, fd, false);
        tls_wrap(&s->conn);
    }
}

int main(int argc, char **argv) {
    double seconds = 60;
    for (int i = 1; i + 1 < argc; i += 2) {
        char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--port")) relay_port = atoi(value);
        else if (!strcmp(name, "--target")) target = value;
        else if (!strcmp(name, "--calls")) call_count = atoi(value);
        else if (!strcmp(name, "--seconds")) seconds = atof(value);
        else if (!strcmp(name, "--turns")) turns = atoi(value);
        else if (!strcmp(name, "--tls")) tls_load(value);
        else if (!strcmp(name, "--mss")) segment_bytes = atoi(value);
        else die("an unknown option");
    }
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){65536, 65536});
    prctl(PR_SET_TIMERSLACK, 1000UL);
    base64_prepare();
    most_pieces = seconds * 50;
    calls = calloc(call_count, sizeof *calls);
    for (uint32_t i = 0; i < call_count; i++) calls[i].conn.state = CLOSED;
    epoll_fd = epoll_create1(0);
    int port = 0, listener = ws_listen(&port), orders;
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &orders});
    printf("vendor %d\n", port), fflush(stdout);
    struct epoll_event events[BACKLOG_EVENTS];
    for (;;) {
        for (double now = now_s(); timer_count && timers[0].at <= now; now = now_s())
            if (!on_timer(timer_take(), now)) return 0;
        double wait = timer_count ? timers[0].at - now_s() : 1;
        if (wait < 0) wait = 0;
        struct timespec patience = {(time_t)wait, (long)((wait - (time_t)wait) * 1e9)};
        int count = epoll_pwait2(epoll_fd, events, BACKLOG_EVENTS, &patience, NULL);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &orders) {
                if (!read_orders()) return 0;
            } else if (events[i].data.ptr) conn_event(events[i].data.ptr, events[i].events);
            else accept_sessions(listener);
        }
    }
}
