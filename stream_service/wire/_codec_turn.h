/* One turn of the mover: who is ready is read, the audio rewrapped and written, connection after connection, and only what
 * is left for Python to do is reported. */
#pragma once
#include <sys/epoll.h>
#include <time.h>

/* Frames that were made of what one peer sent, on their way to another. They never wait for a next turn, nor while
 * Python runs. */
typedef struct {
    Lane *to; /* NULL when there are none */
    Py_ssize_t size;
    uint8_t bytes[AT_ONCE];
} Batch;

typedef struct Mover {
    PyObject_HEAD
    int epoll;
    PyObject *clock;      /* gives the time at which something is heard; NULL when that is the system's */
    unsigned long thread; /* whose turn it is; only it uses the memory at the end */
    bool moving;          /* who wants to be written now is so within this turn */
    PyObject *rest;       /* what this turn leaves to do for Python; borrowed */
    Lane **lanes;         /* by file descriptor; NULL where there is none */
    size_t lanes_room;
    Lane **waiting; /* to be written; each is there once */
    size_t waiting_count, waiting_room;
    Batch batch;
    uint8_t read[AT_ONCE], unmasked[AT_ONCE];
} Mover;

enum { MOST_EVENTS = 64 };

static uint8_t *unmasking_room(const Lane *lane) { return lane->mover->unmasked; }

static bool report(PyObject *rest, int fd, uint32_t events) {
    PyObject *pair = Py_BuildValue("(iI)", fd, (unsigned int)events);
    bool done = pair && PyList_Append(rest, pair) == 0;
    Py_XDECREF(pair);
    return done;
}

/* Writes the batch, if there is one; false with an error. */
static bool batch_leaves(Mover *self) {
    if (self == NULL || self->batch.to == NULL) return true;
    Batch *batch = &self->batch;
    Lane *lane = batch->to;
    Piece data = {(char *)batch->bytes, batch->size};
    batch->to = NULL, batch->size = 0;
    uint32_t left = write_now(lane, NULL, data);
    if (!left && ((Outbox *)lane->outbox)->finished) left = FLUSH; /* too much control came behind it */
    bool done = !left || report(self->rest, lane->fd, left);
    Py_DECREF((PyObject *)lane);
    return done;
}

/* The last room is not needed. */
static void leave_room(Lane *lane, Py_ssize_t size) {
    lane->mover->batch.size -= size;
    ((Outbox *)lane->outbox)->taken--;
}

/* Where to put a frame of so many bytes that is to leave with this turn; NULL when it has to be queued, because something
 * is in its way, or with an error. `limit`: no larger one may be sent. */
static uint8_t *room_in_batch(Lane *lane, Py_ssize_t size, Py_ssize_t limit) {
    Mover *mover = lane->mover;
    Outbox *outbox = (Outbox *)lane->outbox;
    if (!mover || !mover->moving || size > limit || size > AT_ONCE || mover->thread != PyThread_get_thread_ident()) return NULL;
    Batch *batch = &mover->batch;
    if (batch->to && (batch->to != lane || batch->size + size > AT_ONCE) && !batch_leaves(mover)) return NULL;
    if (outbox->size || outbox->finished || !writes_freely(lane)) return NULL;
    if (batch->to == NULL) batch->to = (Lane *)Py_NewRef((PyObject *)lane);
    uint8_t *room = batch->bytes + batch->size;
    batch->size += size;
    outbox->taken++;
    if (batch->size > outbox->peak) outbox->peak = batch->size;
    return room;
}

/* False with an error. */
static bool lane_wants_writing(Lane *self) {
    Mover *mover = self->mover;
    if (mover && mover->moving && self->live) {
        if (self->waits) return true;
        if (mover->waiting_count == mover->waiting_room) {
            size_t room = mover->waiting_room ? mover->waiting_room * 2 : 16;
            Lane **waiting = PyMem_Realloc(mover->waiting, room * sizeof *waiting);
            if (waiting == NULL) return PyErr_NoMemory(), false;
            mover->waiting = waiting, mover->waiting_room = room;
        }
        mover->waiting[mover->waiting_count++] = (Lane *)Py_NewRef((PyObject *)self);
        self->waits = true;
        return true;
    }
    return is_none(self->flush) || have_written(self->flush);
}

/* --- one turn --- */

/* What is about to be used is in no cache any more, as there are hundreds of calls, and is fetched while something else is
 * done: a connection while the one before it is served, */
static void fetch(const void *object, size_t size) {
    for (size_t at = 0; object && at < size; at += 64) __builtin_prefetch((const char *)object + at, 1);
}

static void fetch_lane(const Lane *lane) {
    if (lane) fetch(lane, sizeof *lane);
}

/* and what its route leads to while the kernel is asked for what has come. */
static void fetch_route(const Lane *lane) {
    fetch(lane->decoder, sizeof(Decoder));
    if (lane->route && Py_TYPE(lane->route) == uplink_type) {
        const Uplink *uplink = (Uplink *)lane->route;
        const Journal *journal = &uplink->journal;
        fetch(uplink->outbox, sizeof(Outbox));
        if (uplink->flush && Py_TYPE(uplink->flush) == lane_type) fetch_lane((Lane *)uplink->flush);
        for (size_t at = 0; journal->ring && at < 256; at += 64)
            __builtin_prefetch(journal->ring + ((journal->first + journal->used + at) & (journal->room - 1)), 1);
    }
}

/* Have the route take what it can of what has come; how many messages, -1 with an error. */
static long drain(Lane *self, Decoder *decoder) {
    PyObject *route = Py_XNewRef(self->route);
    long taken = 0;
    if (self->bytes_left < 0 || route == NULL) taken = 0;
    else if (Py_TYPE(route) == uplink_type) taken = uplink_drains((Uplink *)route, decoder, self);
    else if (Py_TYPE(route) == downlink_type) taken = downlink_drains((Downlink *)route, decoder, self);
    else if (Py_TYPE(route) == repeats_type) taken = repeats_drains((Repeats *)route, decoder, self);
    else if (route != Py_None) taken = python_drains(route, decoder, self);
    Py_XDECREF(route);
    return taken;
}

/* Whether all that comes of this peer is moved here. */
static bool is_movable(const Lane *lane) {
    return lane->live && lane->open && !lane->held && !lane->backlog && !lane->interest && lane->decoder != NULL &&
           Py_TYPE(lane->decoder) == decoder_type;
}

/* Read some of what one peer has sent and pass on the audio; 0, or what Python has to do. */
static uint32_t move_some(Mover *mover, Lane *self, double now) {
    Decoder *decoder = (Decoder *)Py_NewRef(self->decoder);
    Py_ssize_t size;
    fetch_route(self);
    uint32_t left = is_none(self->receive) ? read_plain(self, mover->read, &size) : read_tls(self, mover->read, &size);
    if (size > 0 && !left) {
        self->heard_at = now;
        self->bytes_in += size, self->bytes_left -= size;
        long taken = lend(decoder, mover->read, size) ? drain(self, decoder) : -1;
        if (taken < 0) left = fails(self);
        else self->messages_in += taken, self->messages_left -= (double)taken;
        if (!batch_leaves(mover)) left = fails(self);
        if (!take_back(decoder)) left = fails(self);
        if (!left && (self->bytes_left < 0 || self->messages_left < 0 || !nothing_left(decoder)))
            left = DELIVER;
    }
    Py_DECREF((PyObject *)decoder);
    return left;
}

/* The same for all that has left the kernel by then, which one read bounds. */
static uint32_t move_in(Mover *mover, Lane *self, double now) {
    uint32_t left = move_some(mover, self, now);
    while (!left && self->tls && tls_waits(self->tls))
        left = is_movable(self) ? move_some(mover, self, now) : READ; /* Python goes on with it, or when it is released */
    return left;
}

/* Nobody who is written may keep the others from it; who cannot be is Python's. */
static bool write_those_waiting(Mover *self) {
    bool done = true;
    for (size_t i = 0; i < self->waiting_count; i++) {
        Lane *lane = self->waiting[i];
        lane->waits = false;
        uint32_t left = write_out(lane);
        if (left) done = report(self->rest, lane->fd, left) && done;
        Py_DECREF((PyObject *)lane);
    }
    self->waiting_count = 0;
    return done;
}

static Lane *lane_of(const Mover *self, int fd) {
    return fd >= 0 && (size_t)fd < self->lanes_room ? self->lanes[fd] : NULL;
}

static bool handle(Mover *self, const struct epoll_event *event, double now) {
    Lane *lane = lane_of(self, event->data.fd);
    if (lane == NULL || event->events != EPOLLIN || !is_movable(lane))
        return report(self->rest, event->data.fd, event->events);
    Py_INCREF((PyObject *)lane);
    uint32_t left = move_in(self, lane, now);
    bool done = !left || report(self->rest, lane->fd, left);
    Py_DECREF((PyObject *)lane);
    /* At once and not after all events: the frames of one read leave together, and wait for nobody else's. */
    return write_those_waiting(self) && done;
}
