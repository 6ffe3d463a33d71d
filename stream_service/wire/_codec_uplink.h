/* The like of `engines.uplink.PythonUplink`: the caller's audio, kept for a while and passed on to a vendor. */
#pragma once

typedef struct {
    PyObject_HEAD
    PyObject *prefix, *suffix; /* bytes: what stands around the audio in the vendor's message */
    bool binary;               /* the vendor takes the audio itself, and not its base64 */
    Py_ssize_t idle_bytes, most_bytes;
    Queue chunks; /* what was kept, in the vendor's form; its turns are sizes as mu-law */
    long long position, start;
    long long *needed; /* where utterances began that have not been understood yet */
    size_t needed_count, needed_room;
    Outbox *outbox; /* the vendor's, NULL when there is none */
    PyObject *flush, *other;
    bool masked;
} Uplink;

static int uplink_init(Uplink *self, PyObject *args, PyObject *named) {
    static char *names[] = {"prefix", "suffix", "binary", "idle_bytes", "most_bytes", "other", NULL};
    PyObject *prefix, *suffix, *other = Py_None;
    int binary;
    if (!PyArg_ParseTupleAndKeywords(args, named, "SSpnn|O", names, &prefix, &suffix, &binary, &self->idle_bytes,
                                     &self->most_bytes, &other))
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
    queue_clear(&self->chunks);
    PyMem_Free(self->needed);
    Py_XDECREF(self->prefix), Py_XDECREF(self->suffix);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static void forget_chunk(Uplink *self) {
    self->start += (long long)queued(&self->chunks, 0)->turn;
    Py_DECREF(queue_take(&self->chunks));
}

static bool keep(Uplink *self, PyObject *chunk, Py_ssize_t size) {
    if (!queue_put(&self->chunks, chunk, size)) return false;
    self->position += size;
    Py_ssize_t bound = self->needed_count ? self->most_bytes : self->idle_bytes;
    while (self->position - self->start > bound) forget_chunk(self);
    return true;
}

/* Queues one of the vendor's messages; false with an error. */
static bool pass_on(Uplink *self, Piece audio) {
    Piece pieces[] = {bytes_piece(self->prefix), audio, bytes_piece(self->suffix)};
    PyObject *frame = make_frame(FIN | (self->binary ? OP_BINARY : OP_TEXT), pieces, 3, self->masked);
    if (frame == NULL) return false;
    int taken = put_audio(self->outbox, frame);
    Py_DECREF(frame);
    return taken >= 0;
}

static bool nothing_waits(const Uplink *self) { return self->outbox && self->outbox->size == 0; }

/* Have it written when it is the first to wait. Only at the end of what we do: from here on, others may run. */
static bool flush_if(bool was_empty, const Uplink *self) {
    return !was_empty || self->outbox == NULL || self->outbox->size == 0 || have_written(self->flush);
}

/* What a payload is kept as, and its size as mu-law. NULL without an error when it is damaged or empty. */
static PyObject *chunk_of(const Uplink *self, Piece payload, Py_ssize_t *size) {
    Py_ssize_t padding = 0;
    while (padding < 2 && padding < payload.size && payload.at[payload.size - 1 - padding] == '=') padding++;
    if (!self->binary) {
        *size = payload.size * 3 / 4 - padding;
        return *size > 0 ? PyBytes_FromStringAndSize(payload.at, payload.size) : NULL;
    }
    Py_ssize_t digits = payload.size - padding, rest = digits % 4;
    if (rest == 1 || (rest == 2 && padding < 2) || (rest == 3 && !padding) || !digits) return NULL;
    *size = digits / 4 * 3 + (rest ? rest - 1 : 0);
    PyObject *chunk = PyBytes_FromStringAndSize(NULL, *size);
    if (chunk) decode_base64(payload.at, digits, (uint8_t *)PyBytes_AsString(chunk));
    return chunk;
}

/* False with an error. */
static bool take_payload(Uplink *self, Piece payload) {
    Py_ssize_t size;
    PyObject *chunk = chunk_of(self, payload, &size);
    if (chunk == NULL) return !PyErr_Occurred(); /* one frame less */
    bool done = keep(self, chunk, size) && (self->outbox == NULL || pass_on(self, bytes_piece(chunk)));
    Py_DECREF(chunk);
    return done;
}

static PyObject *uplink_call(Uplink *self, PyObject *args, PyObject *named) {
    (void)named;
    PyObject *message;
    Piece payload;
    if (!PyArg_ParseTuple(args, "S", &message)) return NULL;
    Piece text = bytes_piece(message);
    if (!find_caller_audio(text.at, text.size, &payload)) {
        if (self->other == NULL || self->other == Py_None) Py_RETURN_FALSE;
        return PyObject_CallFunctionObjArgs(self->other, message, NULL);
    }
    bool was_empty = nothing_waits(self);
    return take_payload(self, payload) && flush_if(was_empty, self) ? Py_NewRef(Py_True) : NULL;
}

/* Every message that comes first in the decoder and is ours is taken here, as if it had been pulled; how many there were,
 * -1 with an error. */
static long uplink_drains(Uplink *self, Decoder *decoder, Lane *lane) {
    long count = 0;
    bool was_empty = nothing_waits(self);
    Piece text, payload;
    Py_ssize_t next;
    while (goes_on(lane, self) && (next = whole_text(decoder, &text))) {
        if (!find_caller_audio(text.at, text.size, &payload)) {
            int taken = ask(self->other, text, lane);
            if (taken < 0) return -1;
            if (!taken) break;
        } else if (!take_payload(self, payload)) return -1;
        decoder->position = next;
        count++;
    }
    return flush_if(was_empty, self) ? count : -1;
}

static PyObject *uplink_attach(Uplink *self, PyObject *args) {
    PyObject *outbox, *flush;
    int masked;
    if (!PyArg_ParseTuple(args, "OpO", &outbox, &masked, &flush)) return NULL;
    if (Py_TYPE(outbox) != outbox_type) return PyErr_Format(PyExc_TypeError, "not a compiled Outbox");
    refer((PyObject **)&self->outbox, outbox);
    refer(&self->flush, flush);
    self->masked = masked;
    bool was_empty = nothing_waits(self);
    long long start = self->start;
    const Queue *kept = &self->chunks;
    if (self->binary && kept->count) { /* all of it is one message */
        Py_ssize_t size = (Py_ssize_t)(self->position - self->start);
        char *joined = PyMem_Malloc(size), *at = joined;
        if (joined == NULL) return PyErr_NoMemory();
        for (size_t i = 0; i < kept->count; i++) {
            Piece chunk = bytes_piece(queued(kept, i)->bytes);
            memcpy(at, chunk.at, chunk.size), at += chunk.size;
        }
        bool done = pass_on(self, (Piece){joined, size});
        PyMem_Free(joined);
        if (!done) return NULL;
    } else
        for (size_t i = 0; i < kept->count; i++)
            if (!pass_on(self, bytes_piece(queued(kept, i)->bytes))) return NULL;
    return flush_if(was_empty, self) ? PyLong_FromLongLong(start) : NULL;
}

static PyObject *uplink_detach(Uplink *self, PyObject *none) {
    (void)none;
    uplink_lets_go(self);
    Py_RETURN_NONE;
}

static PyObject *uplink_need_from(Uplink *self, PyObject *where) {
    long long position = PyLong_AsLongLong(where);
    if (position == -1 && PyErr_Occurred()) return NULL;
    if (self->needed_count == self->needed_room) {
        size_t room = self->needed_room ? self->needed_room * 2 : 8;
        long long *needed = PyMem_Realloc(self->needed, room * sizeof *needed);
        if (needed == NULL) return PyErr_NoMemory();
        self->needed = needed, self->needed_room = room;
    }
    self->needed[self->needed_count++] = position;
    Py_RETURN_NONE;
}

static PyObject *uplink_settled(Uplink *self, PyObject *where) {
    long long position = PyLong_AsLongLong(where);
    if (position == -1 && PyErr_Occurred()) return NULL;
    size_t done = 0;
    while (done < self->needed_count && self->needed[done] < position) done++;
    self->needed_count -= done;
    if (done) memmove(self->needed, self->needed + done, self->needed_count * sizeof *self->needed);
    const Queue *kept = &self->chunks;
    while (kept->count && self->start + (long long)queued(kept, 0)->turn <= position) forget_chunk(self);
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
    {"position", T_LONGLONG, offsetof(Uplink, position), READONLY, NULL},
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
