/* The like of `engines.downlink.PythonDownlink`: the model's audio on its way to the caller. */
#pragma once

typedef struct {
    PyObject_HEAD
    Outbox *outbox; /* the carrier's, NULL when there is none */
    PyObject *flush;
    bool masked;
    bool asks;   /* whoever is told of the audio is so of the next piece, however small */
    bool silent; /* this response is not to be heard */
    Py_ssize_t untold, unmarked, most_unmarked; /* bytes of mu-law of `item`: not told of; told of since its last mark */
    PyObject *item, *response; /* str: the last ones; all but the first of an answer are the same */
    PyObject *words; /* a list, NULL while nobody gathers */
    PyObject *media_prefix, *media_suffix, *mark_prefix, *mark_suffix; /* bytes */
    PyObject *passes, *other;
    PyObject *no_news; /* a frozenset of bytes, or NULL */
} Downlink;

enum { MOST_WORDS = 500 }; /* messages that wait together; more than a response has */

static int downlink_init(Downlink *self, PyObject *args, PyObject *named) {
    static char *names[] = {"media_prefix", "media_suffix", "mark_prefix", "mark_suffix", "most_unmarked", "passes", "other", "no_news", NULL};
    PyObject *given[7] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, named, "SSSSnOO|O", names, &given[0], &given[1], &given[2], &given[3],
                                     &self->most_unmarked, &given[4], &given[5], &given[6]))
        return -1;
    PyObject **places[] = {&self->media_prefix, &self->media_suffix, &self->mark_prefix, &self->mark_suffix,
                           &self->passes, &self->other, &self->no_news};
    for (int i = 0; i < 7; i++) refer(places[i], given[i]);
    return 0;
}

static int downlink_traverse(Downlink *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT((PyObject *)self->outbox); Py_VISIT(self->flush);
    Py_VISIT(self->passes); Py_VISIT(self->other); Py_VISIT(self->words);
    return 0;
}

static int downlink_clear(Downlink *self) {
    PyObject **all[] = {(PyObject **)&self->outbox, &self->flush, &self->passes, &self->other, &self->words, &self->item, &self->response};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) refer(all[i], NULL);
    return 0;
}

static void downlink_dealloc(Downlink *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    downlink_clear(self);
    Py_XDECREF(self->media_prefix), Py_XDECREF(self->media_suffix);
    Py_XDECREF(self->mark_prefix), Py_XDECREF(self->mark_suffix), Py_XDECREF(self->no_news);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

/* False with an error. */
static bool pass_down(Downlink *self, bool is_audio, PyObject *before, Piece between, PyObject *behind) {
    Piece pieces[] = {bytes_piece(before), between, bytes_piece(behind)};
    return send_frame(self->outbox, self->flush, is_audio, FIN | OP_TEXT, pieces, 3, self->masked);
}

static bool is_name(PyObject *name, Piece of) {
    Py_ssize_t size;
    const char *text = name ? PyUnicode_AsUTF8AndSize(name, &size) : NULL;
    if (text == NULL) PyErr_Clear();
    return text && size == of.size && !memcmp(text, of.at, size);
}

static bool rename_as(PyObject **place, Piece name) {
    if (is_name(*place, name)) return true;
    PyObject *new = PyUnicode_DecodeUTF8(name.at, name.size, "replace");
    if (new == NULL) return false;
    refer(place, new);
    Py_DECREF(new);
    return true;
}

/* Tells of so much more of the item, and what has not been told of it. The mark to send behind it: empty for none, None
 * when it is not to be heard; NULL with an error. */
static PyObject *told(Downlink *self, Py_ssize_t more, const Lane *lane) {
    PyObject *size = PyLong_FromSsize_t(self->untold + more), *passes = Py_XNewRef(self->passes), *mark = NULL;
    PyObject *item = Py_XNewRef(self->item), *response = Py_XNewRef(self->response);
    self->unmarked += self->untold + more, self->untold = 0;
    if (size && passes && item && response && (!lane || batch_leaves(lane->mover)))
        mark = PyObject_CallFunctionObjArgs(passes, size, item, response, NULL);
    Py_XDECREF(size), Py_XDECREF(passes), Py_XDECREF(item), Py_XDECREF(response);
    if (mark == NULL || mark == Py_None) return mark;
    if (PyBytes_Check(mark)) {
        if (PyBytes_Size(mark)) self->unmarked = 0;
        return mark;
    }
    Py_DECREF(mark);
    return PyErr_Format(PyExc_TypeError, "a mark's name is bytes");
}

/* False with an error; the mark is ours to let go. */
static bool mark_is_sent(Downlink *self, PyObject *mark) {
    bool done = mark && (mark == Py_None || !PyBytes_Size(mark) || self->outbox == NULL ||
                         pass_down(self, false, self->mark_prefix, bytes_piece(mark), self->mark_suffix));
    Py_XDECREF(mark);
    return done;
}

/* Whoever is told of the audio knows of all of it from here on, and is told of the next piece; false with an error. */
static bool tell(Downlink *self, const Lane *lane) {
    self->asks = true;
    return self->untold == 0 || mark_is_sent(self, told(self, 0, lane));
}

/* False with an error. What the pieces point into must stay. */
static bool take_delta(Downlink *self, Piece payload, Piece item, Piece response, const Lane *lane) {
    Py_ssize_t padding = 0;
    while (padding < 2 && padding < payload.size && payload.at[payload.size - 1 - padding] == '=') padding++;
    Py_ssize_t size = payload.size * 3 / 4 - padding;
    bool known = is_name(self->item, item) && is_name(self->response, response);
    if (!known) {
        if (!tell(self, lane) || !rename_as(&self->item, item) || !rename_as(&self->response, response)) return false;
        self->unmarked = 0;
    }
    PyObject *mark = NULL;
    if (self->asks || self->unmarked + self->untold + size >= self->most_unmarked) {
        self->asks = false;
        if ((mark = told(self, size, lane)) == NULL) return false;
        self->silent = mark == Py_None;
    } else self->untold += size;
    if (self->outbox && !self->silent && !pass_down(self, true, self->media_prefix, payload, self->media_suffix))
        return Py_XDECREF(mark), false;
    return mark == NULL || mark_is_sent(self, mark);
}

static bool are_words(Piece text) {
    return begins_with(text, LITERAL("{\"type\":\"response.output_audio_transcript.delta\""));
}

/* 1 when the words were added to those that are gathered, 0 when not, -1 with an error. */
static int gathered(Downlink *self, Piece text, PyObject *message) {
    if (self->words == NULL || !are_words(text) || PyList_Size(self->words) >= MOST_WORDS) return 0;
    PyObject *bytes = message ? Py_NewRef(message) : PyBytes_FromStringAndSize(text.at, text.size);
    int done = bytes && PyList_Append(self->words, bytes) == 0 ? 1 : -1;
    Py_XDECREF(bytes);
    return done;
}

/* 1 when nobody need be told of this event, 0 when somebody has to be, -1 with an error. */
static int tells_nothing(Downlink *self, Piece text) {
    const Piece lead = LITERAL("{\"type\":\"");
    const Py_ssize_t longest = 80; /* by then the type of an event of OpenAI's has ended */
    if (self->untold || self->unmarked || self->no_news == NULL) return 0;
    if (!begins_with(text, lead)) return 0;
    const char *from = text.at + lead.size, *end = text.at + (text.size < longest ? text.size : longest);
    const char *close = memchr(from, '"', end - from);
    PyObject *kind = close ? PyBytes_FromStringAndSize(from, close - from) : NULL;
    if (kind == NULL) return close ? -1 : 0;
    int found = PySet_Contains(self->no_news, kind);
    Py_DECREF(kind);
    if (found > 0) self->asks = true;
    return found;
}

/* Whoever is behind the route has been told of what came behind the audio, and has seen to its mark. */
static void marked(Downlink *self, Piece text) {
    if (!are_words(text)) self->unmarked = 0;
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
        return take_delta(self, payload, item, response, NULL) ? Py_NewRef(Py_True) : NULL;
    if ((done = tells_nothing(self, text))) return done > 0 ? Py_NewRef(Py_True) : NULL;
    if (!tell(self, NULL)) return NULL;
    if (is_none(self->other)) Py_RETURN_FALSE;
    PyObject *other = Py_NewRef(self->other), *taken = PyObject_CallFunctionObjArgs(other, message, NULL);
    Py_DECREF(other);
    marked(self, text);
    return taken;
}

/* Like `uplink_drains`, for the model's audio and words. Not of a peer that masks, as no vendor does: what is unmasked does
 * not stay where it is while Python runs. */
static long downlink_drains(Downlink *self, Decoder *decoder, Lane *lane) {
    long count = 0;
    Piece text, payload, item, response;
    Py_ssize_t next;
    while (!decoder->mask_bit && goes_on(lane, self) && (next = whole_text(decoder, NULL, &text))) {
        int done = gathered(self, text, NULL);
        if (!done) {
            PyObject *kept = Py_XNewRef(decoder->fed); /* what the pieces point into, whatever Python does meanwhile */
            if (find_audio_delta(text.at, text.size, &payload, &item, &response))
                done = take_delta(self, payload, item, response, lane) ? 1 : -1;
            else if (!(done = tells_nothing(self, text))) {
                done = tell(self, lane) ? ask(self->other, text, lane) : -1;
                marked(self, text);
            }
            Py_XDECREF(kept);
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
    refer((PyObject **)&self->outbox, outbox), refer(&self->flush, flush);
    self->masked = masked;
    Py_RETURN_NONE;
}

static PyObject *downlink_tell(Downlink *self, PyObject *none) {
    (void)none;
    if (!tell(self, NULL)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *downlink_gather(Downlink *self, PyObject *words) {
    if (!PyList_Check(words)) return PyErr_Format(PyExc_TypeError, "not a list");
    refer(&self->words, words);
    Py_RETURN_NONE;
}

static PyObject *downlink_replace(Downlink *self, PyObject *args) {
    PyObject *words, *message;
    if (!PyArg_ParseTuple(args, "OS", &words, &message)) return NULL;
    if (self->words == NULL || self->words != words) Py_RETURN_FALSE;
    PyObject *only = PyList_New(1);
    if (only == NULL || PyList_SetItem(only, 0, Py_NewRef(message)) || PyList_SetSlice(words, 0, PY_SSIZE_T_MAX, only))
        return Py_XDECREF(only), NULL;
    Py_DECREF(only);
    refer(&self->words, NULL);
    Py_RETURN_TRUE;
}

static PyObject *downlink_let_go(Downlink *self, PyObject *words) {
    if (words == Py_None || words == self->words) refer(&self->words, NULL);
    Py_RETURN_NONE;
}

static PyMethodDef downlink_methods[] = {
    {"attach", (PyCFunction)downlink_attach, METH_VARARGS, "attach(outbox, masked, flush, /)"},
    {"tell", (PyCFunction)downlink_tell, METH_NOARGS, "tell()"},
    {"gather", (PyCFunction)downlink_gather, METH_O, "gather(words, /)"},
    {"replace", (PyCFunction)downlink_replace, METH_VARARGS, "replace(words, message, /)"},
    {"let_go", (PyCFunction)downlink_let_go, METH_O, "let_go(words, /)"},
    {NULL},
};

static PyType_Slot downlink_slots[] = {
    {Py_tp_doc, "Downlink(media_prefix, media_suffix, mark_prefix, mark_suffix, most_unmarked, passes, other): "
                "see engines.downlink.PythonDownlink."},
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
