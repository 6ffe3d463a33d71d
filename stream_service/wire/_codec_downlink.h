/* The like of `engines.downlink.PythonDownlink`: the model's audio on its way to the caller. */
#pragma once

typedef struct {
    PyObject_HEAD
    PyObject *media_prefix, *media_suffix, *mark_prefix, *mark_suffix; /* bytes */
    PyObject *outbox, *flush;                                          /* the carrier's */
    bool masked;
    PyObject *passes, *other;
    PyObject *words; /* a list, NULL while nobody gathers */
    PyObject *item, *response; /* str: the last ones; all but the first of an answer are the same */
} Downlink;

enum { MOST_WORDS = 500 }; /* messages that wait together; more than a response has */

static int downlink_init(Downlink *self, PyObject *args, PyObject *named) {
    static char *names[] = {"media_prefix", "media_suffix", "mark_prefix", "mark_suffix", "passes", "other", NULL};
    PyObject *given[6];
    if (!PyArg_ParseTupleAndKeywords(args, named, "SSSSOO", names, &given[0], &given[1], &given[2], &given[3], &given[4], &given[5]))
        return -1;
    PyObject **places[] = {&self->media_prefix, &self->media_suffix, &self->mark_prefix, &self->mark_suffix, &self->passes, &self->other};
    for (int i = 0; i < 6; i++) refer(places[i], given[i]);
    return 0;
}

static int downlink_traverse(Downlink *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->outbox); Py_VISIT(self->flush);
    Py_VISIT(self->passes); Py_VISIT(self->other); Py_VISIT(self->words);
    return 0;
}

static int downlink_clear(Downlink *self) {
    PyObject **all[] = {&self->outbox, &self->flush, &self->passes, &self->other, &self->words, &self->item, &self->response};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) refer(all[i], NULL);
    return 0;
}

static void downlink_dealloc(Downlink *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    downlink_clear(self);
    Py_XDECREF(self->media_prefix), Py_XDECREF(self->media_suffix);
    Py_XDECREF(self->mark_prefix), Py_XDECREF(self->mark_suffix);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *piece_of(const Downlink *self, PyObject *before, Piece between, PyObject *behind) {
    Piece pieces[] = {bytes_piece(before), between, bytes_piece(behind)};
    return make_frame(FIN | OP_TEXT, pieces, 3, self->masked);
}

/* Queues a piece of audio with its mark, if any; false with an error. */
static bool pass_down(Downlink *self, Piece audio, PyObject *mark) {
    Outbox *outbox = (Outbox *)self->outbox;
    if (!PyBytes_Check(mark)) return PyErr_Format(PyExc_TypeError, "a mark's name is bytes"), false;
    PyObject *frame = piece_of(self, self->media_prefix, audio, self->media_suffix);
    bool was_empty = outbox->size == 0, done = frame && put_audio(outbox, frame) >= 0;
    Py_XDECREF(frame);
    if (done && PyBytes_Size(mark)) { /* who has too much control waiting is found out by the connection, which looks */
        frame = piece_of(self, self->mark_prefix, bytes_piece(mark), self->mark_suffix);
        done = frame && put_control(outbox, frame) >= 0;
        Py_XDECREF(frame);
    }
    return done && (!was_empty || outbox->size == 0 || have_written(self->flush));
}

/* A name as str; NULL with an error. The last one is kept and given again when it is the same. */
static PyObject *named(PyObject **last, Piece name) {
    Py_ssize_t size;
    const char *text = *last ? PyUnicode_AsUTF8AndSize(*last, &size) : NULL;
    if (text == NULL || size != name.size || memcmp(text, name.at, size)) {
        PyErr_Clear();
        PyObject *new = PyUnicode_DecodeUTF8(name.at, name.size, "replace");
        if (new == NULL) return NULL;
        refer(last, new);
        Py_DECREF(new);
    }
    return Py_NewRef(*last);
}

/* False with an error. What the pieces point into must stay. */
static bool take_delta(Downlink *self, Piece payload, Piece item, Piece response) {
    Py_ssize_t padding = 0;
    while (padding < 2 && padding < payload.size && payload.at[payload.size - 1 - padding] == '=') padding++;
    PyObject *size = PyLong_FromSsize_t(payload.size * 3 / 4 - padding);
    PyObject *item_id = named(&self->item, item), *response_id = named(&self->response, response);
    PyObject *passes = Py_XNewRef(self->passes), *mark = NULL;
    if (size && item_id && response_id && passes)
        mark = PyObject_CallFunctionObjArgs(passes, size, item_id, response_id, NULL);
    bool done = mark && (mark == Py_None || self->outbox == NULL || pass_down(self, payload, mark));
    Py_XDECREF(size), Py_XDECREF(item_id), Py_XDECREF(response_id), Py_XDECREF(passes), Py_XDECREF(mark);
    return done;
}

static bool are_words(Piece text) {
    const Piece compact = LITERAL("{\"type\":\"response.output_audio_transcript.delta\"");
    return text.size >= compact.size && !memcmp(text.at, compact.at, compact.size);
}

/* 1 when the words were added to those that are gathered, 0 when not, -1 with an error. */
static int gathered(Downlink *self, Piece text, PyObject *message) {
    if (self->words == NULL || !are_words(text) || PyList_Size(self->words) >= MOST_WORDS) return 0;
    PyObject *bytes = message ? Py_NewRef(message) : PyBytes_FromStringAndSize(text.at, text.size);
    int done = bytes && PyList_Append(self->words, bytes) == 0 ? 1 : -1;
    Py_XDECREF(bytes);
    return done;
}

static PyObject *downlink_call(Downlink *self, PyObject *args, PyObject *named) {
    (void)named;
    PyObject *message;
    Piece payload, item, response;
    if (!PyArg_ParseTuple(args, "S", &message)) return NULL;
    Piece text = bytes_piece(message);
    int done = gathered(self, text, message);
    if (done) return done > 0 ? Py_NewRef(Py_True) : NULL;
    if (find_audio_delta(text.at, text.size, &payload, &item, &response))
        return take_delta(self, payload, item, response) ? Py_NewRef(Py_True) : NULL;
    if (is_none(self->other)) Py_RETURN_FALSE;
    PyObject *other = Py_NewRef(self->other), *taken = PyObject_CallFunctionObjArgs(other, message, NULL);
    Py_DECREF(other);
    return taken;
}

/* Like `uplink_drains`, for the model's audio and words. Not of a peer that masks, as no vendor does: what is unmasked does
 * not stay where it is while Python runs. */
static long downlink_drains(Downlink *self, Decoder *decoder, Lane *lane) {
    long count = 0;
    Piece text, payload, item, response;
    Py_ssize_t next;
    while (!decoder->mask_bit && goes_on(lane, self) && (next = whole_text(decoder, &text))) {
        int done = gathered(self, text, NULL);
        if (!done) {
            PyObject *kept = Py_NewRef(decoder->fed); /* what the pieces point into, whatever Python does meanwhile */
            if (!find_audio_delta(text.at, text.size, &payload, &item, &response)) done = ask(self->other, text, lane);
            else done = take_delta(self, payload, item, response) ? 1 : -1;
            Py_DECREF(kept);
        }
        if (done < 0) return -1;
        if (!done) break;
        decoder->position = next;
        count++;
    }
    return count;
}

static PyObject *downlink_attach(Downlink *self, PyObject *args) {
    PyObject *outbox, *flush;
    int masked;
    if (!PyArg_ParseTuple(args, "OpO", &outbox, &masked, &flush)) return NULL;
    if (Py_TYPE(outbox) != outbox_type) return PyErr_Format(PyExc_TypeError, "not a compiled Outbox");
    refer(&self->outbox, outbox), refer(&self->flush, flush);
    self->masked = masked;
    Py_RETURN_NONE;
}

static PyObject *downlink_gather(Downlink *self, PyObject *words) {
    if (!PyList_Check(words)) return PyErr_Format(PyExc_TypeError, "not a list");
    refer(&self->words, words);
    Py_RETURN_NONE;
}

static PyObject *downlink_let_go(Downlink *self, PyObject *words) {
    if (words == Py_None || words == self->words) refer(&self->words, NULL);
    Py_RETURN_NONE;
}

static PyMethodDef downlink_methods[] = {
    {"attach", (PyCFunction)downlink_attach, METH_VARARGS, "attach(outbox, masked, flush, /)"},
    {"gather", (PyCFunction)downlink_gather, METH_O, "gather(words, /)"},
    {"let_go", (PyCFunction)downlink_let_go, METH_O, "let_go(words, /)"},
    {NULL},
};

static PyType_Slot downlink_slots[] = {
    {Py_tp_doc, "Downlink(media_prefix, media_suffix, mark_prefix, mark_suffix, passes, other): see "
                "engines.downlink.PythonDownlink."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, downlink_init},
    {Py_tp_traverse, downlink_traverse},
    {Py_tp_clear, downlink_clear},
    {Py_tp_dealloc, downlink_dealloc},
    {Py_tp_call, downlink_call},
    {Py_tp_methods, downlink_methods},
    {0, NULL},
};

static PyTypeObject *downlink_type; /* for those who are given one */

static PyType_Spec downlink_spec = {
    .name = "stream_service.wire._codec.Downlink",
    .basicsize = sizeof(Downlink),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = downlink_slots,
};
