/* The like of `engines.repeats.PythonRepeats`: a recogniser that says the same again is not worth a word of Python. */
#pragma once
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *lead, *last; /* bytes; `last` is NULL before there was one */
    PyObject *other;
    char again;
} Repeats;

static int repeats_init(Repeats *self, PyObject *args, PyObject *named) {
    static char *names[] = {"lead", "other", NULL};
    PyObject *lead, *other;
    if (!PyArg_ParseTupleAndKeywords(args, named, "SO", names, &lead, &other)) return -1;
    refer(&self->lead, lead), refer(&self->other, other);
    return 0;
}

static int repeats_traverse(Repeats *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->other);
    return 0;
}

static int repeats_clear(Repeats *self) {
    refer(&self->other, NULL);
    return 0;
}

static void repeats_dealloc(Repeats *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    repeats_clear(self);
    Py_XDECREF(self->lead), Py_XDECREF(self->last);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

/* Whether this says the same again. */
static bool is_again(Repeats *self, Piece text) {
    Piece last = self->last ? bytes_piece(self->last) : (Piece){NULL, -1};
    self->again = text.size == last.size && !memcmp(text.at, last.at, text.size) && begins_with(text, bytes_piece(self->lead));
    return self->again;
}

static PyObject *repeats_call(Repeats *self, PyObject *args, PyObject *named) {
    (void)named;
    PyObject *message;
    if (!PyArg_ParseTuple(args, "S", &message)) return NULL;
    if (is_again(self, bytes_piece(message))) Py_RETURN_TRUE;
    refer(&self->last, message);
    if (is_none(self->other)) Py_RETURN_FALSE;
    PyObject *other = Py_NewRef(self->other), *taken = PyObject_CallFunctionObjArgs(other, message, NULL);
    Py_DECREF(other);
    return taken;
}

/* Like `uplink_drains`. */
static long repeats_drains(Repeats *self, Decoder *decoder, Lane *lane) {
    long count = 0;
    Piece text;
    Py_ssize_t next;
    while (goes_on(lane, self) && (next = whole_text(decoder, unmasking_room(lane), &text))) {
        if (!is_again(self, text)) {
            PyObject *message = PyBytes_FromStringAndSize(text.at, text.size);
            if (message == NULL) return -1;
            refer(&self->last, message);
            Py_DECREF(message);
            int taken = ask(self->other, text, lane);
            if (taken < 0) return -1;
            if (!taken) break;
        }
        decoder->position = next;
        count++;
    }
    return count;
}

static PyMemberDef repeats_members[] = {{"again", T_BOOL, offsetof(Repeats, again), 0, NULL}, {NULL}};

static PyType_Slot repeats_slots[] = {
    {Py_tp_doc, "Repeats(lead, other): see engines.repeats.PythonRepeats."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, repeats_init},
    {Py_tp_traverse, repeats_traverse},
    {Py_tp_clear, repeats_clear},
    {Py_tp_dealloc, repeats_dealloc},
    {Py_tp_call, repeats_call},
    {Py_tp_members, repeats_members},
    {0, NULL},
};

static PyTypeObject *repeats_type; /* for those who are given one */

static PyType_Spec repeats_spec = {
    .name = "stream_service.wire._codec.Repeats",
    .basicsize = sizeof(Repeats),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = repeats_slots,
};
