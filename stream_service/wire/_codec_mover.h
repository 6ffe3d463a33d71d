/* A poller (`poller.Poller`) that moves what needs no thought; how, `_codec_turn.h` says. Here: whom it watches, and for how
 * long it waits. Linux only, as epoll is. */
#pragma once

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
    rest = self->rest = PyList_New(0);
    self->thread = PyThread_get_thread_ident();
    while (rest && !PyList_Size(rest)) {
        double left = timeout == Py_None ? 0 : until - seconds();
        /* Rounded up: a turn too many at the end would find nothing to do. */
        int wait = timeout == Py_None ? -1 : left <= 0 ? 0 : left > 1e6 ? 1000000000 : (int)(left * 1000) + 1, count;
        Py_BEGIN_ALLOW_THREADS
        count = epoll_wait(self->epoll, events, most, wait);
        Py_END_ALLOW_THREADS
        if (count > 0) fetch_lane(lane_of(self, events[0].data.fd));
        bool done = count >= 0 || (errno == EINTR ? PyErr_CheckSignals() == 0 : (PyErr_SetFromErrno(PyExc_OSError), false));
        double now = count > 0 && done ? time_of(self->clock) : 0;
        if (now == -1 && PyErr_Occurred()) done = false;
        self->moving = true;
        for (int i = 0; i < count && done; i++) {
            if (i + 1 < count) fetch_lane(lane_of(self, events[i + 1].data.fd));
            done = handle(self, &events[i], now);
        }
        self->moving = false;
        if (!done) return Py_DECREF(rest), NULL;
        if (count == 0 || wait == 0) break;
    }
    return rest;
}

/* Whose connection somebody should look at the clock for; asked for all of them, over and over. */
static PyObject *mover_uneasy(Mover *self, PyObject *now) {
    double time = PyFloat_AsDouble(now);
    PyObject *found = PyList_New(0);
    if (time == -1 && PyErr_Occurred()) Py_CLEAR(found);
    for (size_t fd = 0; found && fd < self->lanes_room; fd++) {
        if (self->lanes[fd] == NULL || is_at_ease(self->lanes[fd], time)) continue;
        PyObject *number = PyLong_FromSize_t(fd);
        if (number == NULL || PyList_Append(found, number)) Py_CLEAR(found);
        Py_XDECREF(number);
    }
    return found;
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
    refer(&self->clock, kept_clock(clock));
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
    Py_VISIT(self->batch.to);
    return 0;
}

static int mover_clear(Mover *self) {
    for (size_t fd = 0; fd < self->lanes_room; fd++) let_lane_go(self, (int)fd);
    while (self->waiting_count) Py_DECREF((PyObject *)self->waiting[--self->waiting_count]);
    refer((PyObject **)&self->batch.to, NULL);
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
    {"uneasy", (PyCFunction)mover_uneasy, METH_O, "uneasy(now, /)"},
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
