/* The like of `engines.uplink.PythonUplink`: the caller's audio, kept for a while and passed on to a vendor. */
#pragma once

typedef struct {
    PyObject_HEAD
    Journal journal;           /* in the vendor's form */
    PyObject *prefix, *suffix; /* bytes: what stands around the audio in the vendor's message */
    Outbox *outbox;            /* the vendor's, NULL when there is none */
    PyObject *flush, *other;
    bool binary, masked;       /* the vendor takes the audio itself, and not its base64; frames are a client's */
} Uplink;

static int uplink_init(Uplink *self, PyObject *args, PyObject *named) {
    static char *names[] = {"prefix", "suffix", "binary", "idle_bytes", "most_bytes", "other", NULL};
    PyObject *prefix, *suffix, *other = Py_None;
    int binary;
    Journal *journal = &self->journal;
    if (!PyArg_ParseTupleAndKeywords(args, named, "SSpnn|O", names, &prefix, &suffix, &binary, &journal->idle_bytes,
                                     &journal->most_bytes, &other))
        return -1;
    refer(&self->other, other);
    refer(&self->prefix, prefix);
    refer(&self->suffix, suffix);
    self->binary = binary;
    return 0;
}

static int uplink_traverse(Uplink *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->outbox);
    Py_VISIT(self->flush);
    Py_VISIT(self->other);
    return 0;
}

static void uplink_lets_go(Uplink *self) {
    refer((PyObject **)&self->outbox, NULL);
    refer(&self->flush, NULL);
}

static int uplink_clear(Uplink *self) {
    uplink_lets_go(self);
    refer(&self->other, NULL);
    return 0;
}

static void uplink_dealloc(Uplink *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    uplink_clear(self);
    journal_clear(&self->journal);
    Py_XDECREF(self->prefix), Py_XDECREF(self->suffix);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

enum { MOST_PIECES = 3 };

/* What one of the vendor's messages consists of; its first byte. */
static uint8_t vendors_message(const Uplink *self, Piece audio, Piece pieces[MOST_PIECES]) {
    pieces[0] = bytes_piece(self->prefix), pieces[1] = audio, pieces[2] = bytes_piece(self->suffix);
    return FIN | (self->binary ? OP_BINARY : OP_TEXT);
}

/* False with an error. */
static bool pass_on(Uplink *self, Piece audio) {
    Piece pieces[MOST_PIECES];
    uint8_t first = vendors_message(self, audio, pieces);
    return send_frame(self->outbox, self->flush, true, first, pieces, MOST_PIECES, self->masked);
}

/* What a payload is kept as, and its size as mu-law, 0 when it is damaged or empty. Decoded it is in `room`. */
static Piece chunk_of(const Uplink *self, Piece payload, uint8_t *room, Py_ssize_t *size) {
    Py_ssize_t padding = 0;
    while (padding < 2 && padding < payload.size && payload.at[payload.size - 1 - padding] == '=') padding++;
    if (!self->binary) {
        *size = payload.size * 3 / 4 - padding;
        return payload;
    }
    Py_ssize_t digits = payload.size - padding, rest = digits % 4;
    *size = 0;
    if (rest == 1 || (rest == 2 && padding < 2) || (rest == 3 && !padding)) return payload;
    *size = digits / 4 * 3 + (rest ? rest - 1 : 0);
    decode_base64(payload.at, digits, room);
    return (Piece){(char *)room, *size};
}

/* False with an error. */
static bool take_payload(Uplink *self, Piece payload) {
    uint8_t usual[1024], *room = payload.size > (Py_ssize_t)sizeof usual ? PyMem_Malloc(payload.size) : usual;
    if (room == NULL) return PyErr_NoMemory(), false;
    Py_ssize_t size;
    Piece chunk = chunk_of(self, payload, room, &size);
    bool done = size <= 0 || (journal_append(&self->journal, chunk, size) && (self->outbox == NULL || pass_on(self, chunk)));
    if (room != usual) PyMem_Free(room);
    return done;
}

static PyObject *uplink_call(Uplink *self, PyObject *args, PyObject *named) {
    (void)named;
    PyObject *message;
    Piece payload;
    if (!PyArg_ParseTuple(args, "S", &message)) return NULL;
    Piece text = bytes_piece(message);
    if (!find_caller_audio(text.at, text.size, &payload)) {
        if (is_none(self->other)) Py_RETURN_FALSE;
        return PyObject_CallFunctionObjArgs(self->other, message, NULL);
    }
    return take_payload(self, payload) ? Py_NewRef(Py_True) : NULL;
}

/* Every message that comes first in the decoder and is ours is taken here, as if it had been pulled; how many there were,
 * -1 with an error. */
static long uplink_drains(Uplink *self, Decoder *decoder, Lane *lane) {
    long count = 0;
    Piece text, payload;
    Py_ssize_t next;
    while (goes_on(lane, self) && (next = whole_text(decoder, unmasking_room(lane), &text))) {
        if (!find_caller_audio(text.at, text.size, &payload)) {
            int taken = ask(self->other, text, lane);
            if (taken < 0) return -1;
            if (!taken) break;
        } else if (!take_payload(self, payload)) return -1;
        decoder->position = next;
        count++;
    }
    return count;
}

static PyObject *uplink_attach(Uplink *self, PyObject *args) {
    PyObject *outbox, *flush;
    int masked;
    if (!PyArg_ParseTuple(args, "OpO", &outbox, &masked, &flush)) return NULL;
    if (Py_TYPE(outbox) != outbox_type) return PyErr_Format(PyExc_TypeError, "not a compiled Outbox");
    refer((PyObject **)&self->outbox, outbox);
    refer(&self->flush, flush);
    self->masked = masked;
    /* All of it before others may run, so that what comes meanwhile is not in front of it. */
    const Journal *journal = &self->journal;
    long long start = journal->start;
    bool was_empty = self->outbox->size == 0, done = true;
    Piece pieces[MOST_PIECES], audio = {PyMem_Malloc(journal->used + 1), 0};
    if (audio.at == NULL) return PyErr_NoMemory();
    for (size_t place = 0; place < journal->used && done;) {
        Chunk chunk = oldest_chunk(journal, journal->first + place);
        ring_read(journal, journal->first + place + sizeof chunk, (char *)audio.at + audio.size, chunk.size);
        place += sizeof chunk + chunk.size;
        audio.size += chunk.size;
        if (self->binary && place < journal->used) continue; /* all of it is one message */
        uint8_t first = vendors_message(self, audio, pieces);
        done = queue_frame(self->outbox, true, first, pieces, MOST_PIECES, self->masked);
        audio.size = 0;
    }
    PyMem_Free((char *)audio.at);
    done = done && (!was_empty || self->outbox->size == 0 || have_written(self->flush));
    return done ? PyLong_FromLongLong(start) : NULL;
}

static PyObject *uplink_detach(Uplink *self, PyObject *none) {
    (void)none;
    uplink_lets_go(self);
    Py_RETURN_NONE;
}

static PyObject *uplink_need_from(Uplink *self, PyObject *where) {
    long long position = PyLong_AsLongLong(where);
    if ((position == -1 && PyErr_Occurred()) || !journal_need_from(&self->journal, position)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *uplink_settled(Uplink *self, PyObject *where) {
    long long position = PyLong_AsLongLong(where);
    if ((position == -1 && PyErr_Occurred()) || !journal_settled(&self->journal, position)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *uplink_attached(Uplink *self, void *nothing) {
    (void)nothing;
    return PyBool_FromLong(self->outbox != NULL);
}

static PyMethodDef uplink_methods[] = {
    {"attach", (PyCFunction)uplink_attach, METH_VARARGS, "attach(outbox, masked, flush, /)"},
    {"detach", (PyCFunction)uplink_detach, METH_NOARGS, "detach()"},
    {"need_from", (PyCFunction)uplink_need_from, METH_O, "need_from(position, /)"},
    {"settled", (PyCFunction)uplink_settled, METH_O, "settled(position, /)"},
    {NULL},
};

static PyMemberDef uplink_members[] = {
    {"position", T_LONGLONG, offsetof(Uplink, journal.position), READONLY, NULL},
    {NULL},
};

static PyGetSetDef uplink_getters[] = {{"attached", (getter)uplink_attached, NULL, NULL, NULL}, {NULL}};

static PyType_Slot uplink_slots[] = {
    {Py_tp_doc, "Uplink(prefix, suffix, binary, idle_bytes, most_bytes, other=None): see engines.uplink.PythonUplink."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, uplink_init},
    {Py_tp_traverse, uplink_traverse},
    {Py_tp_clear, uplink_clear},
    {Py_tp_dealloc, uplink_dealloc},
    {Py_tp_call, uplink_call},
    {Py_tp_methods, uplink_methods},
    {Py_tp_members, uplink_members},
    {Py_tp_getset, uplink_getters},
    {0, NULL},
};

static PyTypeObject *uplink_type; /* for those who are given one */

static PyType_Spec uplink_spec = {
    .name = "stream_service.wire._codec.Uplink",
    .basicsize = sizeof(Uplink),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = uplink_slots,
};
