/* The like of `frame_decoder.Decoder`, step by step, with the same errors at the same bytes. */
#pragma once

/* A place in UTF-8: how many bytes the character still needs, and between which two the next one must be. */
typedef struct {
    uint8_t needed, low, high;
} Utf8;

typedef struct {
    PyObject_HEAD
    const uint8_t *data; /* what was fed, NULL for nothing: in `fed`, or lent by who is about to take it back */
    Py_ssize_t size, position;
    PyObject *fed; /* bytes */
    Py_ssize_t room, max_message;
    uint8_t *message; /* of the message that has begun and not ended */
    Py_ssize_t message_size, message_room;
    Py_ssize_t left; /* bytes missing of the data frame that has begun */
    uint8_t opcode, mask_bit, mask[4];
    bool fin;
    Utf8 utf8;
} Decoder;

/* Raises stream_service.wire.frames.FrameError. */
static void *refuse(int close_code, const char *problem, Py_ssize_t number) {
    PyObject *frames = PyImport_ImportModule("stream_service.wire.frames");
    PyObject *type = frames ? PyObject_GetAttrString(frames, "FrameError") : NULL;
    PyObject *text = type ? PyUnicode_FromFormat(problem, number) : NULL;
    PyObject *error = text ? PyObject_CallFunction(type, "iO", close_code, text) : NULL;
    if (error) PyErr_SetObject(type, error);
    Py_XDECREF(error), Py_XDECREF(text), Py_XDECREF(type), Py_XDECREF(frames);
    return NULL;
}

/* False at the first byte that cannot be (Unicode, table 3-7). */
static bool utf8_goes_on(Utf8 *state, const uint8_t *at, Py_ssize_t size) {
    const uint8_t *end = at + size;
    uint64_t word;
    while (at < end) {
        if (!state->needed) {
            for (; end - at >= 8; at += 8) {
                memcpy(&word, at, 8);
                if (word & 0x8080808080808080) break;
            }
            if (at == end) return true;
            uint8_t lead = *at++;
            if (lead < 0x80) continue;
            if (lead < 0xC2 || lead > 0xF4) return false;
            state->needed = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
            state->low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
            state->high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        } else {
            if (*at < state->low || *at > state->high) return false;
            at++, state->needed--;
            state->low = 0x80, state->high = 0xBF;
        }
    }
    return true;
}

static int decoder_init(Decoder *self, PyObject *args, PyObject *named) {
    static char *names[] = {"masked_expected", "max_message", NULL};
    int masked;
    Py_ssize_t most;
    if (!PyArg_ParseTupleAndKeywords(args, named, "pn", names, &masked, &most)) return -1;
    self->mask_bit = masked ? 0x80 : 0;
    self->room = self->max_message = most;
    return 0;
}

static void decoder_dealloc(Decoder *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->fed);
    PyMem_Free(self->message);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void let_go_of_data(Decoder *self) {
    Py_CLEAR(self->fed);
    self->data = NULL, self->size = self->position = 0;
}

/* False with an error. `given` are the same bytes as an object, if they are one. */
static bool feed(Decoder *self, const uint8_t *more, Py_ssize_t more_size, PyObject *given) {
    Py_ssize_t left = self->size - self->position;
    PyObject *all = given && !left ? Py_NewRef(given) : PyBytes_FromStringAndSize(NULL, left + more_size);
    if (all == NULL) return false;
    if (all != given) {
        char *at = PyBytes_AsString(all);
        if (left) memcpy(at, self->data + self->position, left);
        if (more_size) memcpy(at + left, more, more_size);
    }
    let_go_of_data(self);
    self->fed = all;
    self->data = (uint8_t *)PyBytes_AsString(all), self->size = left + more_size;
    return true;
}

/* Like `feed`, without a copy when nothing else is waiting: what is not taken before `take_back` is copied then. */
static bool lend(Decoder *self, const uint8_t *more, Py_ssize_t size) {
    if (self->data) return feed(self, more, size, NULL);
    self->data = more, self->size = size, self->position = 0;
    return true;
}

static bool take_back(Decoder *self) {
    if (self->data == NULL || self->fed) return true;
    if (self->position == self->size) return let_go_of_data(self), true;
    return feed(self, NULL, 0, NULL);
}

static PyObject *decoder_feed(Decoder *self, PyObject *data) {
    char *more;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &more, &size) < 0 || !feed(self, (uint8_t *)more, size, data)) return NULL;
    Py_RETURN_NONE;
}

/* False, with an error, when no frame may begin so here. */
static bool check_first(const Decoder *self, uint8_t first, Py_ssize_t length) {
    uint8_t opcode = first & 0xF;
    if (first & 0x70) return refuse(1002, "reserved bit set", 0), false;
    if (opcode >= OP_CLOSE && opcode <= OP_PONG) {
        if (!(first & 0x80)) return refuse(1002, "fragmented control frame", 0), false;
        if (length > 125) return refuse(1002, "control frame of more than 125 bytes", 0), false;
        return true;
    }
    if (opcode > OP_BINARY) return refuse(1002, "reserved opcode %zd", opcode), false;
    if (opcode == OP_CONTINUATION && !self->opcode) return refuse(1002, "continuation of nothing", 0), false;
    if (opcode != OP_CONTINUATION && self->opcode) return refuse(1002, "new message before the last one ended", 0), false;
    return true;
}

/* Take what is here of the unfinished frame; false with an error. */
static bool absorb(Decoder *self, const uint8_t *data, Py_ssize_t size) {
    Py_ssize_t taken = size - self->position < self->left ? size - self->position : self->left;
    Py_ssize_t needed = self->message_size + taken;
    if (needed > self->message_room) {
        Py_ssize_t room = needed + needed / 2 < 256 ? 256 : needed + needed / 2;
        uint8_t *message = PyMem_Realloc(self->message, room);
        if (message == NULL) return PyErr_NoMemory(), false;
        self->message = message, self->message_room = room;
    }
    uint8_t *piece = self->message + self->message_size;
    const uint8_t *from = data + self->position;
    if (self->mask_bit) {
        uint8_t turned[4];
        copy_masked(piece, from, taken, self->mask);
        for (int i = 0; i < 4; i++) turned[i] = self->mask[(taken + i) & 3];
        memcpy(self->mask, turned, 4);
    } else if (taken) memcpy(piece, from, taken);
    self->message_size = needed;
    self->position += taken, self->left -= taken, self->room -= taken;
    if (self->opcode == OP_TEXT && !utf8_goes_on(&self->utf8, piece, taken))
        return refuse(1007, "text is not UTF-8", 0), false;
    return true;
}

static PyObject *pulled(uint8_t opcode, PyObject *payload) {
    if (payload == NULL) return NULL;
    PyObject *number = PyLong_FromLong(opcode), *both = number ? PyTuple_Pack(2, number, payload) : NULL;
    Py_XDECREF(number);
    Py_DECREF(payload);
    return both;
}

static PyObject *finish_message(Decoder *self) {
    if (self->opcode == OP_TEXT && self->utf8.needed) return refuse(1007, "text is not UTF-8", 0);
    PyObject *payload = PyBytes_FromStringAndSize((char *)self->message, self->message_size);
    uint8_t opcode = self->opcode;
    PyMem_Free(self->message);
    self->message = NULL, self->message_size = self->message_room = 0;
    self->opcode = 0, self->room = self->max_message;
    return pulled(opcode, payload);
}

/* The payload of a whole frame, unmasked; NULL with an error when it should be text and is not. */
static PyObject *whole_payload(const Decoder *self, const uint8_t *from, Py_ssize_t length, bool text) {
    PyObject *payload = PyBytes_FromStringAndSize(self->mask_bit ? NULL : (const char *)from, length);
    if (payload == NULL) return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AsString(payload);
    if (self->mask_bit) copy_masked(to, from, length, from - 4);
    Utf8 utf8 = {0};
    if (text && (!utf8_goes_on(&utf8, to, length) || utf8.needed)) {
        Py_DECREF(payload);
        return refuse(1007, "text is not UTF-8", 0);
    }
    return payload;
}

/* Whether all that was fed has been pulled, to the last byte. */
static bool nothing_left(Decoder *self) {
    if (self->position == self->size) let_go_of_data(self); /* not to keep a burst in memory until the next one */
    return self->data == NULL;
}

static PyObject *decoder_pull(Decoder *self, PyObject *none) {
    (void)none;
    const uint8_t *data = self->data;
    const Py_ssize_t size = self->size;
    if (data == NULL) Py_RETURN_NONE;
    for (;;) {
        if (self->left) {
            if (!absorb(self, data, size)) return NULL;
            if (self->left) Py_RETURN_NONE;
            if (self->fin) return finish_message(self);
        }
        Py_ssize_t position = self->position;
        if (size - position < 2) {
            nothing_left(self);
            Py_RETURN_NONE;
        }
        uint8_t first = data[position];
        uint64_t length = data[position + 1];
        if ((length & 0x80) != self->mask_bit)
            return refuse(1002, self->mask_bit ? "unmasked frame" : "masked frame", 0);
        length &= 0x7F;
        bool plain = (first == (0x80 | OP_TEXT) || first == (0x80 | OP_BINARY)) && !self->opcode;
        if (!plain && !check_first(self, first, (Py_ssize_t)length)) return NULL;
        bool whole = plain || first & 0x8;
        Py_ssize_t start = position + 2;
        if (length > 125) {
            int field = length == 126 ? 2 : 8;
            start += field;
            if (size < start) Py_RETURN_NONE;
            length = 0;
            for (int i = field; i; i--) length = length << 8 | data[start - i];
            if (length < 126 || (field == 8 && (length < 1 << 16 || length >> 63)))
                return refuse(1002, "length not written in the shortest way", 0);
        }
        if (!(first & 0x8) && length > (uint64_t)(self->room < 0 ? 0 : self->room))
            return refuse(1009, "message of more than %zd bytes", self->max_message);
        if (self->mask_bit) start += 4;
        if (whole && size - start >= (Py_ssize_t)length) {
            bool text = first == (0x80 | OP_TEXT);
            self->position = start + (Py_ssize_t)length;
            return pulled(first & 0xF, whole_payload(self, data + start, (Py_ssize_t)length, text));
        }
        if (size < start || first & 0x8) Py_RETURN_NONE;
        self->position = start;
        if (!self->opcode) {
            self->opcode = first & 0xF;
            self->utf8 = (Utf8){0};
        }
        self->left = (Py_ssize_t)length;
        self->fin = first & 0x80;
        if (self->mask_bit) memcpy(self->mask, data + start - 4, 4);
        if (!length && self->fin) return finish_message(self);
    }
}

static PyMethodDef decoder_methods[] = {
    {"feed", (PyCFunction)decoder_feed, METH_O, "feed(data, /)"},
    {"pull", (PyCFunction)decoder_pull, METH_NOARGS, "pull()"},
    {NULL},
};

static PyType_Slot decoder_slots[] = {
    {Py_tp_doc, "Decoder(masked_expected, max_message): see frame_decoder.Decoder."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, decoder_init},
    {Py_tp_dealloc, decoder_dealloc},
    {Py_tp_methods, decoder_methods},
    {0, NULL},
};

static PyTypeObject *decoder_type; /* for those who are given one */

static PyType_Spec decoder_spec = {
    .name = "stream_service.wire._codec.Decoder",
    .basicsize = sizeof(Decoder),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = decoder_slots,
};
