/* The like of `lane.PythonLane`: what the two ways of moving one connection's bytes share. Also what is said and written
 * without asking Python; who is ready for that, `_codec_mover.h` finds out. */
#pragma once
#include <structmember.h>

struct Mover;

typedef struct Lane {
    PyObject_HEAD
    int fd, interest; /* what every event asks for comes first */
    char live, open, held, backlog, blocked, asked;
    char waits;                /* among those that the mover is about to write */
    PyObject *decoder, *route; /* None when there is none; what is not compiled is Python's to use */
    PyObject *receive, *send;  /* of TLS; None for a plain socket, which is asked directly */
    double heard_at, bytes_left, messages_left, enough_bytes, enough_messages;
    long long bytes_in, messages_in, bytes_out;
    PyObject *outbox;             /* a compiled one */
    PyObject *unwritten, *failed; /* None, or what Python has to go on with */
    PyObject *flush;              /* has Python write it */
    struct Mover *mover;          /* borrowed; it takes itself away before it goes */
} Lane;

/* What Python has to do, in a mask of events: far from what epoll reports. The names are those of `poller`. */
enum { READ = 1, DELIVER = 1 << 20, ENDED = 1 << 21, FAILED = 1 << 22, FLUSH = 1 << 23 };
enum { AT_ONCE = 16384 }; /* one TLS record: more at a time would let one peer's burst keep the others waiting */

static PyObject *want_read, *want_write; /* ssl.SSLWantReadError, SSLWantWriteError */

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

/* What has come goes into the decoder; 0, or what Python has to do. *size says how much it was, 0 for nothing now. */
static uint32_t read_plain(Lane *self, Decoder *decoder, Py_ssize_t *size) {
    static char buffer[AT_ONCE];
    *size = recv(self->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (*size > 0) return feed(decoder, buffer, *size) ? 0 : fails(self);
    if (*size == 0) return ENDED;
    *size = 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return fails(self);
}

/* One read takes a whole record, and OpenSSL reads no further by itself, so that nothing is left where epoll cannot see. */
static uint32_t read_tls(Lane *self, Decoder *decoder, Py_ssize_t *size) {
    static PyObject *most;
    if (most == NULL && (most = PyLong_FromLong(AT_ONCE)) == NULL) return fails(self);
    PyObject *receive = Py_NewRef(self->receive);
    PyObject *data = PyObject_CallFunctionObjArgs(receive, most, NULL);
    Py_DECREF(receive);
    char *bytes;
    uint32_t left = 0;
    *size = 0;
    if (data == NULL) {
        if (PyErr_ExceptionMatches(want_write)) left = READ; /* Python asks again, and waits for what it asks for */
        else if (!PyErr_ExceptionMatches(want_read)) return fails(self);
        PyErr_Clear();
    } else if (PyBytes_AsStringAndSize(data, &bytes, size) < 0 || (*size && !feed_bytes(decoder, bytes, *size, data)))
        left = fails(self);
    else if (!*size) left = ENDED;
    Py_XDECREF(data);
    return left;
}

/* --- writing --- */

/* So many bytes were written; -1 when Python has to try it and see why not. */
static Py_ssize_t write_some(Lane *self, PyObject *data) {
    if (is_none(self->send)) return send(self->fd, PyBytes_AsString(data), PyBytes_Size(data), MSG_DONTWAIT | MSG_NOSIGNAL);
    PyObject *send = Py_NewRef(self->send), *sent = PyObject_CallFunctionObjArgs(send, data, NULL);
    Py_ssize_t size = sent ? PyLong_AsSsize_t(sent) : -1;
    PyErr_Clear();
    Py_DECREF(send);
    Py_XDECREF(sent);
    return size;
}

/* Write all that waits; 0, or what Python has to do: it goes on with what is left, and knows what an end means. */
static uint32_t write_out(Lane *self) {
    Outbox *outbox = (Outbox *)self->outbox;
    if (!self->live || self->blocked || self->interest || !is_none(self->unwritten)) return 0; /* it is Python's already */
    while (outbox->size) {
        PyObject *data = take_frames(outbox, AT_ONCE);
        if (data == NULL) return fails(self);
        Py_ssize_t size = PyBytes_Size(data), sent = write_some(self, data);
        if (sent > 0) self->bytes_out += sent;
        if (sent < size) {
            if (sent > 0) {
                PyObject *rest = PyBytes_FromStringAndSize(PyBytes_AsString(data) + sent, size - sent);
                Py_DECREF(data);
                if ((data = rest) == NULL) return fails(self);
            }
            refer(&self->unwritten, data);
        }
        Py_DECREF(data);
        if (sent < size) return FLUSH;
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
    self->open = true;
    return 0;
}

static int lane_traverse(Lane *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->decoder); Py_VISIT(self->route); Py_VISIT(self->outbox);
    Py_VISIT(self->receive); Py_VISIT(self->send); Py_VISIT(self->flush);
    Py_VISIT(self->unwritten); Py_VISIT(self->failed);
    return 0;
}

static int lane_clear(Lane *self) {
    PyObject **all[] = {&self->decoder, &self->route, &self->receive, &self->send, &self->flush, &self->unwritten, &self->failed};
    self->live = false; /* before anything of it is gone */
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

static bool lane_wants_writing(Lane *self); /* false with an error */

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

static PyObject *lane_at_ease(Lane *self, PyObject *now) {
    double time = PyFloat_AsDouble(now);
    if (time == -1 && PyErr_Occurred()) return NULL;
    return PyBool_FromLong(self->open && !self->blocked && time - self->heard_at < 1.0 /* JUST_NOW_SECONDS */ &&
                           self->bytes_left > self->enough_bytes && self->messages_left > self->enough_messages);
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

/* `flush` is a lane, or what Python gave for one; false with an error. */
static bool have_written(PyObject *flush) {
    if (Py_TYPE(flush) == lane_type) return lane_wants_writing((Lane *)flush);
    PyObject *kept = Py_NewRef(flush), *done = PyObject_CallNoArgs(kept);
    Py_DECREF(kept);
    Py_XDECREF(done);
    return done != NULL;
}

/* Whether the next message, too, may go by this route. Each may change that, and so may other threads while TLS or Python
 * is at work. */
static bool goes_on(const Lane *self, const void *route) { return self->open && !self->held && self->route == route; }

/* Ask Python's part of a route about a message: 1 when it takes it, 0 when it is for whoever is behind the route, -1 with
 * an error. */
static int ask(PyObject *other, Piece text, Lane *lane) {
    if (is_none(other)) return 0;
    PyObject *kept = Py_NewRef(other), *message = PyBytes_FromStringAndSize(text.at, text.size);
    PyObject *answer = message ? PyObject_CallFunctionObjArgs(kept, message, NULL) : NULL;
    int taken = answer ? PyObject_IsTrue(answer) : -1;
    Py_DECREF(kept);
    Py_XDECREF(message), Py_XDECREF(answer);
    lane->asked = taken == 0;
    return taken;
}

/* The text message that comes first in the decoder, when it is here, in one frame, valid and short; where the next frame
 * begins, 0 for anything else, which `pull` sees to. It stays readable until the decoder is fed or asked again. */
static Py_ssize_t whole_text(const Decoder *decoder, Piece *text) {
    static uint8_t unmasked[AT_ONCE];
    if (decoder->fed == NULL || decoder->left || decoder->opcode) return 0;
    const uint8_t *data = (uint8_t *)PyBytes_AsString(decoder->fed);
    Py_ssize_t at = decoder->position, size = PyBytes_Size(decoder->fed);
    if (size - at < 4 || data[at] != (FIN | OP_TEXT) || (data[at + 1] & 0x80) != decoder->mask_bit) return 0;
    Py_ssize_t length = data[at + 1] & 0x7F, start = at + 2 + (decoder->mask_bit ? 4 : 0);
    if (length > 126) return 0;
    if (length == 126) {
        length = data[at + 2] << 8 | data[at + 3], start += 2;
        if (length < 126) return 0;
    }
    if (length > AT_ONCE || length > decoder->room || length > size - start) return 0;
    const uint8_t *payload = data + start;
    if (decoder->mask_bit) copy_masked(unmasked, payload, length, payload - 4), payload = unmasked;
    Utf8 utf8 = {0};
    if (!utf8_goes_on(&utf8, payload, length) || utf8.needed) return 0;
    *text = (Piece){(const char *)payload, length};
    return start + length;
}
