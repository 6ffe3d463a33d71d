/* The like of `lane.PythonLane`: what the two ways of moving one connection's bytes share. Also what is said and written
 * without asking Python; who is ready for that, `_codec_mover.h` finds out. */
#pragma once
#include <math.h>
#include <structmember.h>

struct Mover;

typedef struct Lane {
    PyObject_HEAD
    int fd, interest; /* what every event asks for comes first */
    char live, open, held, backlog, blocked, asked;
    char waits;                /* among those that the mover is about to write */
    PyObject *decoder, *route; /* None when there is none; what is not compiled is Python's to use */
    Tls *tls;                  /* the compiled one, if it is that */
    struct Mover *mover;       /* borrowed; it takes itself away before it goes */
    PyObject *outbox;          /* a compiled one */
    PyObject *unwritten;       /* None, or what Python has to go on with */
    double heard_at, patience, bytes_left, messages_left, enough_bytes, enough_messages;
    long long bytes_in, messages_in, bytes_out;
    PyObject *receive, *send;  /* of TLS; None for a plain socket, which is asked directly */
    PyObject *failed, *flush;  /* the error Python has to go on with; has Python write it */
} Lane;

/* What Python has to do, in a mask of events: far from what epoll reports. The names are those of `poller`. */
enum { READ = 1, DELIVER = 1 << 20, ENDED = 1 << 21, FAILED = 1 << 22, FLUSH = 1 << 23 };
enum { AT_ONCE = 16384 }; /* one TLS record: more at a time would let one peer's burst keep the others waiting */


static void refer(PyObject **place, PyObject *to) {
    PyObject *before = *place;
    *place = Py_XNewRef(to);
    Py_XDECREF(before);
}

static bool is_none(const PyObject *object) { return object == NULL || object == Py_None; }

/* The error that has been set is the lane's from here on. */
static uint32_t fails(Lane *self) {
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    if (error && trace) PyException_SetTraceback(error, trace);
    refer(&self->failed, error);
    Py_XDECREF(type), Py_XDECREF(error), Py_XDECREF(trace);
    return FAILED;
}

/* --- reading --- */

/* What has come, AT_ONCE at most; 0, or what Python has to do. *size says how much it was, 0 for nothing now. */
static uint32_t read_plain(Lane *self, uint8_t *into, Py_ssize_t *size) {
    *size = recv(self->fd, into, AT_ONCE, MSG_DONTWAIT);
    if (*size > 0) return 0;
    if (*size == 0) return ENDED;
    *size = 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return fails(self);
}

/* One record. What else has come with it is where epoll cannot see it: `tls_waits`. */
static uint32_t read_tls(Lane *self, uint8_t *into, Py_ssize_t *size) {
    *size = self->tls ? tls_take(self->tls, into, AT_ONCE) : ask_to_read(self->receive, into, AT_ONCE);
    if (*size > 0) return 0;
    if (*size == 0) return ENDED;
    *size = 0;
    uint32_t left = 0;
    if (PyErr_ExceptionMatches(want_write)) left = READ; /* Python asks again, and waits for what it asks for */
    else if (!PyErr_ExceptionMatches(want_read)) return fails(self);
    PyErr_Clear();
    return left;
}

/* --- writing --- */

/* So many bytes were written; -1 when Python has to try it and see why not. */
static Py_ssize_t write_some(Lane *self, PyObject *object, Piece data) {
    if (is_none(self->send)) return send(self->fd, data.at, data.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    Py_ssize_t size = self->tls ? tls_give(self->tls, data.at, data.size) : ask_to_write(self->send, object);
    if (size < 0) PyErr_Clear();
    return size;
}

/* 0, or what Python has to do: it goes on with what is left, and knows what an end means. `object`: where the data is, if
 * it is in one. Python's TLS lets other threads run, and they must not come upon data that may change. */
static uint32_t write_now(Lane *self, PyObject *object, Piece data) {
    if (object == NULL && self->tls == NULL && !is_none(self->send)) {
        if ((object = PyBytes_FromStringAndSize(data.at, data.size)) == NULL) return fails(self);
        uint32_t left = write_now(self, object, bytes_piece(object));
        Py_DECREF(object);
        return left;
    }
    Py_ssize_t sent = write_some(self, object, data);
    if (sent > 0) self->bytes_out += sent;
    if (sent == data.size) return 0;
    if (sent < 0) sent = 0;
    PyObject *rest = object && !sent ? Py_NewRef(object) : PyBytes_FromStringAndSize(data.at + sent, data.size - sent);
    if (rest == NULL) return fails(self);
    refer(&self->unwritten, rest);
    Py_DECREF(rest);
    return FLUSH;
}

/* Whether what is to be written can be so at once; else it is Python's already, or about to be. */
static bool writes_freely(const Lane *self) {
    return self->live && !self->blocked && !self->interest && is_none(self->unwritten);
}

/* Write all that waits; 0, or what Python has to do. */
static uint32_t write_out(Lane *self) {
    Outbox *outbox = (Outbox *)self->outbox;
    if (!writes_freely(self)) return 0;
    while (outbox->size) {
        PyObject *data = take_frames(outbox, AT_ONCE);
        if (data == NULL) return fails(self);
        uint32_t left = write_now(self, data, bytes_piece(data));
        Py_DECREF(data);
        if (left) return left;
    }
    return outbox->finished ? FLUSH : 0;
}

/* --- the object --- */

static int lane_init(Lane *self, PyObject *args, PyObject *named) {
    static char *names[] = {"fd", "decoder", "outbox", "flush", "receive", "send", NULL};
    PyObject *decoder, *outbox, *flush, *receive = Py_None, *send = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, named, "iOOO|OO", names, &self->fd, &decoder, &outbox, &flush, &receive, &send))
        return -1;
    if (Py_TYPE(outbox) != outbox_type) return PyErr_Format(PyExc_TypeError, "not a compiled Outbox"), -1;
    refer(&self->decoder, decoder), refer(&self->outbox, outbox), refer(&self->flush, flush);
    refer(&self->receive, receive), refer(&self->send, send);
    refer((PyObject **)&self->tls, tls_behind(receive, send));
    self->open = true;
    self->patience = INFINITY;
    return 0;
}

static int lane_traverse(Lane *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->decoder); Py_VISIT(self->route); Py_VISIT(self->outbox);
    Py_VISIT(self->receive); Py_VISIT(self->send); Py_VISIT(self->flush); Py_VISIT(self->tls);
    Py_VISIT(self->unwritten); Py_VISIT(self->failed);
    return 0;
}

static int lane_clear(Lane *self) {
    PyObject **all[] = {&self->decoder, &self->route, &self->receive, &self->send, &self->flush, &self->unwritten, &self->failed};
    self->live = false; /* before anything of it is gone */
    refer((PyObject **)&self->tls, NULL);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) refer(all[i], NULL);
    return 0;
}

static void lane_dealloc(Lane *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    lane_clear(self);
    Py_XDECREF(self->outbox);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

/* Of the mover, which is further down; false with an error. */
static bool lane_wants_writing(Lane *self);

static PyObject *lane_call(Lane *self, PyObject *args, PyObject *named) {
    (void)named;
    if (!PyArg_ParseTuple(args, "") || !lane_wants_writing(self)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *lane_retire(Lane *self, PyObject *none) {
    (void)none;
    self->open = false;
    lane_clear(self);
    Py_RETURN_NONE;
}

static bool is_at_ease(const Lane *self, double now) {
    return self->open && !self->blocked && !self->held && !self->backlog && now - self->heard_at < self->patience &&
           self->bytes_left > self->enough_bytes && self->messages_left > self->enough_messages;
}

static PyObject *lane_at_ease(Lane *self, PyObject *now) {
    double time = PyFloat_AsDouble(now);
    if (time == -1 && PyErr_Occurred()) return NULL;
    return PyBool_FromLong(is_at_ease(self, time));
}

static PyMethodDef lane_methods[] = {
    {"at_ease", (PyCFunction)lane_at_ease, METH_O, "at_ease(now, /)"},
    {"retire", (PyCFunction)lane_retire, METH_NOARGS, "retire()"},
    {NULL},
};

static PyMemberDef lane_members[] = {
    {"fd", T_INT, offsetof(Lane, fd), READONLY, NULL},
    {"interest", T_INT, offsetof(Lane, interest), 0, NULL},
    {"live", T_BOOL, offsetof(Lane, live), 0, NULL},
    {"open", T_BOOL, offsetof(Lane, open), 0, NULL},
    {"held", T_BOOL, offsetof(Lane, held), 0, NULL},
    {"backlog", T_BOOL, offsetof(Lane, backlog), 0, NULL},
    {"blocked", T_BOOL, offsetof(Lane, blocked), 0, NULL},
    {"bytes_in", T_LONGLONG, offsetof(Lane, bytes_in), 0, NULL},
    {"messages_in", T_LONGLONG, offsetof(Lane, messages_in), 0, NULL},
    {"bytes_out", T_LONGLONG, offsetof(Lane, bytes_out), 0, NULL},
    {"asked", T_BOOL, offsetof(Lane, asked), 0, NULL},
    {"heard_at", T_DOUBLE, offsetof(Lane, heard_at), 0, NULL},
    {"patience", T_DOUBLE, offsetof(Lane, patience), 0, NULL},
    {"bytes_left", T_DOUBLE, offsetof(Lane, bytes_left), 0, NULL},
    {"messages_left", T_DOUBLE, offsetof(Lane, messages_left), 0, NULL},
    {"enough_bytes", T_DOUBLE, offsetof(Lane, enough_bytes), 0, NULL},
    {"enough_messages", T_DOUBLE, offsetof(Lane, enough_messages), 0, NULL},
    {"decoder", T_OBJECT, offsetof(Lane, decoder), 0, NULL},
    {"route", T_OBJECT, offsetof(Lane, route), 0, NULL},
    {"outbox", T_OBJECT, offsetof(Lane, outbox), READONLY, NULL},
    {"unwritten", T_OBJECT, offsetof(Lane, unwritten), 0, NULL},
    {"failed", T_OBJECT, offsetof(Lane, failed), 0, NULL},
    {NULL},
};

static PyType_Slot lane_slots[] = {
    {Py_tp_doc, "Lane(fd, decoder, outbox, flush, receive=None, send=None): see lane.PythonLane."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, lane_init},
    {Py_tp_traverse, lane_traverse},
    {Py_tp_clear, lane_clear},
    {Py_tp_dealloc, lane_dealloc},
    {Py_tp_call, lane_call},
    {Py_tp_methods, lane_methods},
    {Py_tp_members, lane_members},
    {0, NULL},
};

static PyTypeObject *lane_type; /* for those who are given one */

static PyType_Spec lane_spec = {
    .name = "stream_service.wire._codec.Lane",
    .basicsize = sizeof(Lane),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = lane_slots,
};
