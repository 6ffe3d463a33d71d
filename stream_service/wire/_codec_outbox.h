/* The like of `outbox.Outbox`. The interpreter's lock is its lock. */
#pragma once

/* Frames in order, in memory that grows to a power of two and stays until the end. What belongs together is together: with
 * hundreds of calls every place that is touched has to be fetched anew. */
typedef struct {
    PyObject *bytes;
    uint64_t turn; /* for control: after so many frames of audio */
} Queued;

typedef struct {
    Queued *frames;
    size_t first, count, room;
} Queue;

typedef struct {
    PyObject_HEAD
    Queue audio, control;
    Py_ssize_t audio_limit, control_limit, audio_size, control_size, size, peak;
    uint64_t audio_gone;
    Py_ssize_t dropped, taken;
    char finished, overflowed;
} Outbox;

/* The frame so many places behind the oldest. */
static const Queued *queued(const Queue *queue, size_t place) {
    return &queue->frames[(queue->first + place) & (queue->room - 1)];
}

static bool queue_put(Queue *queue, PyObject *frame, uint64_t turn) {
    if (queue->count == queue->room) {
        size_t room = queue->room ? queue->room * 2 : 4;
        Queued *frames = PyMem_Malloc(room * sizeof *frames);
        if (frames == NULL) return PyErr_NoMemory(), false;
        for (size_t i = 0; i < queue->count; i++) frames[i] = *queued(queue, i);
        PyMem_Free(queue->frames);
        queue->frames = frames, queue->room = room, queue->first = 0;
    }
    queue->frames[(queue->first + queue->count++) & (queue->room - 1)] = (Queued){Py_NewRef(frame), turn};
    return true;
}

/* The oldest frame, whose reference is the caller's now. */
static PyObject *queue_take(Queue *queue) {
    PyObject *frame = queue->frames[queue->first].bytes;
    queue->first = (queue->first + 1) & (queue->room - 1);
    queue->count--;
    return frame;
}

static void queue_clear(Queue *queue) {
    while (queue->count) Py_DECREF(queue_take(queue));
    PyMem_Free(queue->frames);
    *queue = (Queue){0};
}

static PyObject *audio_taken(Outbox *self) {
    PyObject *frame = queue_take(&self->audio);
    Py_ssize_t size = PyBytes_Size(frame);
    self->audio_gone++, self->audio_size -= size, self->size -= size;
    return frame;
}

static PyObject *control_taken(Outbox *self) {
    PyObject *frame = queue_take(&self->control);
    Py_ssize_t size = PyBytes_Size(frame);
    self->control_size -= size, self->size -= size;
    return frame;
}

static void note_size(Outbox *self, Py_ssize_t more) {
    self->size += more;
    if (self->size > self->peak) self->peak = self->size;
}

static int outbox_init(Outbox *self, PyObject *args, PyObject *named) {
    static char *names[] = {"audio_limit", "control_limit", NULL};
    return PyArg_ParseTupleAndKeywords(args, named, "nn", names, &self->audio_limit, &self->control_limit) ? 0 : -1;
}

static void outbox_dealloc(Outbox *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    queue_clear(&self->audio);
    queue_clear(&self->control);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* 1 when it is taken, 0 when not, -1 with an error. */
static int put_audio(Outbox *self, PyObject *frame) {
    Py_ssize_t size = PyBytes_Size(frame);
    if (size < 0) return -1;
    if (self->finished) return 0;
    if (size > self->audio_limit) {
        self->dropped++;
        return 0;
    }
    while (self->audio_size + size > self->audio_limit) {
        Py_DECREF(audio_taken(self));
        self->dropped++;
    }
    if (!queue_put(&self->audio, frame, 0)) return -1;
    self->audio_size += size;
    note_size(self, size);
    return 1;
}

static PyObject *outbox_put_audio(Outbox *self, PyObject *frame) {
    int taken = put_audio(self, frame);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static bool append_control(Outbox *self, PyObject *frame, Py_ssize_t size) {
    if (!queue_put(&self->control, frame, self->audio_gone + self->audio.count)) return false;
    self->control_size += size;
    note_size(self, size);
    return true;
}

/* 1 when it is taken or ignored, 0 when that goes over the bound, -1 with an error. */
static int put_control(Outbox *self, PyObject *frame) {
    Py_ssize_t size = PyBytes_Size(frame);
    if (size < 0) return -1;
    if (self->finished) return 1;
    if (self->control_size + size > self->control_limit) {
        self->finished = self->overflowed = true;
        return 0;
    }
    return append_control(self, frame, size) ? 1 : -1;
}

static PyObject *outbox_put_control(Outbox *self, PyObject *frame) {
    int taken = put_control(self, frame);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *outbox_finish(Outbox *self, PyObject *args) {
    PyObject *last = NULL;
    if (!PyArg_ParseTuple(args, "|S", &last)) return NULL;
    if (self->finished) Py_RETURN_FALSE;
    self->finished = true;
    Py_ssize_t size = last ? PyBytes_Size(last) : 0;
    if (size && !append_control(self, last, size)) return NULL;
    Py_RETURN_TRUE;
}

static PyObject *outbox_discard_audio(Outbox *self, PyObject *none) {
    (void)none;
    size_t count = self->audio.count;
    while (self->audio.count) Py_DECREF(audio_taken(self));
    return PyLong_FromSize_t(count);
}

static bool is_controls_turn(const Outbox *self) {
    return self->control.count && queued(&self->control, 0)->turn <= self->audio_gone;
}

static PyObject *take_next(Outbox *self) {
    self->taken++;
    return is_controls_turn(self) ? control_taken(self) : audio_taken(self);
}

static PyObject *take_frames(Outbox *self, Py_ssize_t limit) {
    Py_ssize_t total = 0;
    size_t frames = self->audio.count + self->control.count;
    if (frames == 0) return PyBytes_FromStringAndSize(NULL, 0);
    if (frames == 1) return take_next(self);
    /* How many fit, in the order in which they would be taken. */
    size_t controls = 0, audios = 0;
    while (controls + audios < frames) {
        bool is_control = controls < self->control.count && queued(&self->control, controls)->turn <= self->audio_gone + audios;
        const Queued *frame = is_control ? queued(&self->control, controls) : queued(&self->audio, audios);
        Py_ssize_t size = PyBytes_Size(frame->bytes);
        if (total && total + size > limit) break;
        total += size;
        if (is_control) controls++;
        else audios++;
    }
    if (controls + audios == 1) return take_next(self);
    PyObject *joined = PyBytes_FromStringAndSize(NULL, total);
    if (joined == NULL) return NULL;
    char *at = PyBytes_AsString(joined);
    for (size_t left = controls + audios; left; left--) {
        PyObject *frame = take_next(self);
        Py_ssize_t size = PyBytes_Size(frame);
        memcpy(at, PyBytes_AsString(frame), size);
        at += size;
        Py_DECREF(frame);
    }
    return joined;
}

static PyObject *outbox_take(Outbox *self, PyObject *most) {
    Py_ssize_t limit = PyLong_AsSsize_t(most);
    return limit == -1 && PyErr_Occurred() ? NULL : take_frames(self, limit);
}

static PyMethodDef outbox_methods[] = {
    {"put_audio", (PyCFunction)outbox_put_audio, METH_O, "put_audio(frame, /)"},
    {"put_control", (PyCFunction)outbox_put_control, METH_O, "put_control(frame, /)"},
    {"finish", (PyCFunction)outbox_finish, METH_VARARGS, "finish(last=b'', /)"},
    {"discard_audio", (PyCFunction)outbox_discard_audio, METH_NOARGS, "discard_audio()"},
    {"take", (PyCFunction)outbox_take, METH_O, "take(limit, /)"},
    {NULL},
};

static PyMemberDef outbox_members[] = {
    {"size", T_PYSSIZET, offsetof(Outbox, size), READONLY, NULL},
    {"peak", T_PYSSIZET, offsetof(Outbox, peak), READONLY, NULL},
    {"dropped", T_PYSSIZET, offsetof(Outbox, dropped), READONLY, NULL},
    {"taken", T_PYSSIZET, offsetof(Outbox, taken), READONLY, NULL},
    {"finished", T_BOOL, offsetof(Outbox, finished), READONLY, NULL},
    {"overflowed", T_BOOL, offsetof(Outbox, overflowed), READONLY, NULL},
    {NULL},
};

static PyType_Slot outbox_slots[] = {
    {Py_tp_doc, "Outbox(audio_limit, control_limit): see outbox.Outbox."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, outbox_init},
    {Py_tp_dealloc, outbox_dealloc},
    {Py_tp_methods, outbox_methods},
    {Py_tp_members, outbox_members},
    {0, NULL},
};

static PyTypeObject *outbox_type; /* for those who are given one */

static PyType_Spec outbox_spec = {
    .name = "stream_service.wire._codec.Outbox",
    .basicsize = sizeof(Outbox),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = outbox_slots,
};
