/* A poller (`poller.Poller`) that moves what needs no thought: it reads, has audio rewrapped and writes it, connection
 * after connection, and reports only what is left for Python to do. Linux only, as epoll is. */
#pragma once
#include <sys/epoll.h>
#include <time.h>

typedef struct Mover {
    PyObject_HEAD
    int epoll;
    PyObject *clock; /* gives the time at which something is heard */
    bool moving;     /* who wants to be written now is so within this turn */
    Lane **lanes; /* by file descriptor; NULL where there is none */
    size_t lanes_room;
    Lane **waiting; /* to be written; each is there once */
    size_t waiting_count, waiting_room;
} Mover;

enum { MOST_EVENTS = 64 };

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

static bool report(PyObject *rest, int fd, uint32_t events) {
    PyObject *pair = Py_BuildValue("(iI)", fd, (unsigned int)events);
    bool done = pair && PyList_Append(rest, pair) == 0;
    Py_XDECREF(pair);
    return done;
}

/* Read what one peer has sent and pass on the audio; 0, or what Python has to do. */
static uint32_t move_in(Lane *self, double now) {
    Decoder *decoder = (Decoder *)Py_NewRef(self->decoder);
    Py_ssize_t size;
    uint32_t left = is_none(self->receive) ? read_plain(self, decoder, &size) : read_tls(self, decoder, &size);
    if (size > 0 && !left) {
        self->heard_at = now;
        self->bytes_in += size, self->bytes_left -= size;
        PyObject *route = Py_XNewRef(self->route);
        long taken = 0;
        if (self->bytes_left < 0 || route == NULL) taken = 0;
        else if (Py_TYPE(route) == uplink_type) taken = uplink_drains((Uplink *)route, decoder, self);
        else if (Py_TYPE(route) == downlink_type) taken = downlink_drains((Downlink *)route, decoder, self);
        Py_XDECREF(route);
        if (taken < 0) left = fails(self);
        else {
            self->messages_in += taken, self->messages_left -= (double)taken;
            left = nothing_left(decoder) && self->bytes_left >= 0 && self->messages_left >= 0 ? 0 : DELIVER;
        }
    }
    Py_DECREF((PyObject *)decoder);
    return left;
}

/* Nobody who is written may keep the others from it; who cannot be is Python's. */
static bool write_those_waiting(Mover *self, PyObject *rest) {
    bool done = true;
    for (size_t i = 0; i < self->waiting_count; i++) {
        Lane *lane = self->waiting[i];
        lane->waits = false;
        uint32_t left = write_out(lane);
        if (left) done = report(rest, lane->fd, left) && done;
        Py_DECREF((PyObject *)lane);
    }
    self->waiting_count = 0;
    return done;
}

static Lane *lane_of(const Mover *self, int fd) {
    return fd >= 0 && (size_t)fd < self->lanes_room ? self->lanes[fd] : NULL;
}

static bool handle(Mover *self, const struct epoll_event *event, double now, PyObject *rest) {
    Lane *lane = lane_of(self, event->data.fd);
    if (lane == NULL || event->events != EPOLLIN || !lane->live || !lane->open || lane->held || lane->backlog ||
        lane->interest || lane->decoder == NULL || Py_TYPE(lane->decoder) != decoder_type)
        return report(rest, event->data.fd, event->events);
    Py_INCREF((PyObject *)lane);
    uint32_t left = move_in(lane, now);
    bool done = !left || report(rest, lane->fd, left);
    Py_DECREF((PyObject *)lane);
    /* At once and not after all events: the frames of one read leave together, and wait for nobody else's. */
    return write_those_waiting(self, rest) && done;
}

/* It is about to be used, and with hundreds of calls it is in no cache any more. */
static void fetch_soon(const Lane *lane) {
    __builtin_prefetch(lane);
    __builtin_prefetch((const char *)lane + 64);
    __builtin_prefetch(lane->decoder);
    __builtin_prefetch(lane->route);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double time_of(PyObject *clock) {
    PyObject *now = PyObject_CallNoArgs(clock);
    double seconds = now ? PyFloat_AsDouble(now) : -1;
    Py_XDECREF(now);
    return seconds;
}

static PyObject *mover_poll(Mover *self, PyObject *args) {
    PyObject *timeout = Py_None, *rest = NULL;
    int most = MOST_EVENTS;
    double until = 0;
    struct epoll_event events[MOST_EVENTS];
    if (!PyArg_ParseTuple(args, "|Oi", &timeout, &most)) return NULL;
    if (timeout != Py_None) {
        double patience = PyFloat_AsDouble(timeout);
        if (patience == -1 && PyErr_Occurred()) return NULL;
        until = seconds() + patience;
    }
    if (most < 1 || most > MOST_EVENTS) most = MOST_EVENTS;
    rest = PyList_New(0);
    while (rest && !PyList_Size(rest)) {
        double left = timeout == Py_None ? 0 : until - seconds();
        /* Rounded up: a turn too many at the end would find nothing to do. */
        int wait = timeout == Py_None ? -1 : left <= 0 ? 0 : left > 1e6 ? 1000000000 : (int)(left * 1000) + 1, count;
        Py_BEGIN_ALLOW_THREADS
        count = epoll_wait(self->epoll, events, most, wait);
        Py_END_ALLOW_THREADS
        bool done = count >= 0 || (errno == EINTR ? PyErr_CheckSignals() == 0 : (PyErr_SetFromErrno(PyExc_OSError), false));
        double now = count > 0 && done ? time_of(self->clock) : 0;
        if (now == -1 && PyErr_Occurred()) done = false;
        self->moving = true;
        for (int i = 0; i < count && done; i++) {
            const Lane *next = i + 1 < count ? lane_of(self, events[i + 1].data.fd) : NULL;
            if (next) fetch_soon(next);
            done = handle(self, &events[i], now, rest);
        }
        self->moving = false;
        if (!done) return Py_DECREF(rest), NULL;
        if (count == 0 || wait == 0) break;
    }
    return rest;
}

/* --- who is polled --- */

static bool watch(Mover *self, int what, int fd, unsigned int interest) {
    struct epoll_event event = {.events = interest & EPOLLIN ? interest : interest | EPOLLRDHUP, .data.fd = fd};
    return epoll_ctl(self->epoll, what, fd, &event) == 0 || (PyErr_SetFromErrno(PyExc_OSError), false);
}

static void let_lane_go(Mover *self, int fd) {
    Lane *lane = lane_of(self, fd);
    if (lane == NULL) return;
    self->lanes[fd] = NULL;
    lane->mover = NULL;
    Py_DECREF((PyObject *)lane);
}

static PyObject *mover_register(Mover *self, PyObject *args) {
    int fd;
    unsigned int interest;
    PyObject *lane = Py_None;
    if (!PyArg_ParseTuple(args, "iI|O", &fd, &interest, &lane)) return NULL;
    if (lane != Py_None && Py_TYPE(lane) != lane_type) return PyErr_Format(PyExc_TypeError, "not a compiled Lane");
    if (lane != Py_None && (fd < 0 || ((Lane *)lane)->fd != fd || ((Lane *)lane)->outbox == NULL))
        return PyErr_Format(PyExc_ValueError, "the lane of another socket");
    if (lane != Py_None && (size_t)fd >= self->lanes_room) {
        size_t room = (size_t)fd + 64;
        Lane **lanes = PyMem_Realloc(self->lanes, room * sizeof *lanes);
        if (lanes == NULL) return PyErr_NoMemory();
        memset(lanes + self->lanes_room, 0, (room - self->lanes_room) * sizeof *lanes);
        self->lanes = lanes, self->lanes_room = room;
    }
    if (!watch(self, EPOLL_CTL_ADD, fd, interest)) return NULL;
    if (lane != Py_None) {
        let_lane_go(self, fd);
        self->lanes[fd] = (Lane *)Py_NewRef(lane);
        self->lanes[fd]->mover = self;
    }
    Py_RETURN_NONE;
}

static PyObject *mover_modify(Mover *self, PyObject *args) {
    int fd;
    unsigned int interest;
    if (!PyArg_ParseTuple(args, "iI", &fd, &interest) || !watch(self, EPOLL_CTL_MOD, fd, interest)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *mover_unregister(Mover *self, PyObject *number) {
    long fd = PyLong_AsLong(number);
    if (fd == -1 && PyErr_Occurred()) return NULL;
    let_lane_go(self, (int)fd);
    struct epoll_event none = {0};
    if (epoll_ctl(self->epoll, EPOLL_CTL_DEL, (int)fd, &none)) return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *mover_close(Mover *self, PyObject *none) {
    (void)none;
    if (self->epoll >= 0) close(self->epoll);
    self->epoll = -1;
    for (size_t fd = 0; fd < self->lanes_room; fd++) let_lane_go(self, (int)fd);
    Py_RETURN_NONE;
}

/* --- the object --- */

static PyObject *mover_new(PyTypeObject *type, PyObject *args, PyObject *named) {
    (void)named;
    PyObject *clock;
    if (!PyArg_ParseTuple(args, "O", &clock)) return NULL;
    Mover *self = (Mover *)PyType_GenericNew(type, args, NULL);
    if (self == NULL) return NULL;
    refer(&self->clock, clock);
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll >= 0) return (PyObject *)self;
    PyErr_SetFromErrno(PyExc_OSError);
    Py_DECREF((PyObject *)self);
    return NULL;
}

static int mover_traverse(Mover *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->clock);
    for (size_t fd = 0; fd < self->lanes_room; fd++) Py_VISIT(self->lanes[fd]);
    for (size_t i = 0; i < self->waiting_count; i++) Py_VISIT(self->waiting[i]);
    return 0;
}

static int mover_clear(Mover *self) {
    for (size_t fd = 0; fd < self->lanes_room; fd++) let_lane_go(self, (int)fd);
    while (self->waiting_count) Py_DECREF((PyObject *)self->waiting[--self->waiting_count]);
    return 0;
}

static void mover_dealloc(Mover *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    mover_clear(self);
    Py_XDECREF(self->clock);
    if (self->epoll >= 0) close(self->epoll);
    PyMem_Free(self->lanes), PyMem_Free(self->waiting);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef mover_methods[] = {
    {"register", (PyCFunction)mover_register, METH_VARARGS, "register(fd, interest, lane=None, /)"},
    {"modify", (PyCFunction)mover_modify, METH_VARARGS, "modify(fd, interest, /)"},
    {"unregister", (PyCFunction)mover_unregister, METH_O, "unregister(fd, /)"},
    {"poll", (PyCFunction)mover_poll, METH_VARARGS, "poll(timeout=None, most=64, /)"},
    {"close", (PyCFunction)mover_close, METH_NOARGS, "close()"},
    {NULL},
};

static PyType_Slot mover_slots[] = {
    {Py_tp_doc, "Mover(clock): a poller that moves audio by itself; see poller.Poller."},
    {Py_tp_new, mover_new},
    {Py_tp_traverse, mover_traverse},
    {Py_tp_clear, mover_clear},
    {Py_tp_dealloc, mover_dealloc},
    {Py_tp_methods, mover_methods},
    {0, NULL},
};

static PyType_Spec mover_spec = {
    .name = "stream_service.wire._codec.Mover",
    .basicsize = sizeof(Mover),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = mover_slots,
};
