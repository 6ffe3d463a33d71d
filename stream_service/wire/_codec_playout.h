/* The like of `playout.PythonPlayout`. It is asked about some of the audio of every call, and Python code that runs so seldom
 * is in no cache when it does. */
#pragma once
#include <structmember.h>

/* --- what comes and goes --- */

static PyObject *playout_passes(Playout *self, PyObject *const *args, Py_ssize_t count) {
    char mark[MARK_ROOM];
    if (count != 3) return PyErr_Format(PyExc_TypeError, "passes takes 3 arguments, not %zd", count);
    Py_ssize_t size = PyLong_AsSsize_t(args[0]);
    if (size == -1 && PyErr_Occurred()) return NULL;
    int is_dropped = PySet_Contains(self->dropped, args[2]);
    if (is_dropped) return is_dropped < 0 ? NULL : Py_NewRef(Py_None);
    double now = time_of(self->clock);
    if (now == -1 && PyErr_Occurred()) return NULL;
    refer(&self->sounding, args[2]);
    self->just_sounded = true;
    int first = note_sent(self, args[1], size, now, mark);
    if (first < 0) return NULL;
    if (first && !is_none(self->on_first)) {
        PyObject *told = Py_NewRef(self->on_first), *done = PyObject_CallFunctionObjArgs(told, args[1], args[2], NULL);
        Py_DECREF(told);
        Py_XDECREF(done);
        if (done == NULL) return NULL;
    }
    return PyBytes_FromString(mark);
}

static bool is_of_mark(char of) {
    return (of >= '0' && of <= '9') || (of >= 'a' && of <= 'z') || (of >= 'A' && of <= 'Z') || of == '-';
}

/* The name in a `mark` message of Twilio's own compact form, as `twilio_media.returned_mark` finds it. */
static bool find_mark(Piece text, Piece *name) {
    const Piece compact = LITERAL("{\"event\":\"mark\""), lead = LITERAL("\"name\":\"");
    if (!begins_with(text, compact)) return false;
    const char *end = text.at + text.size, *last = NULL;
    for (const char *at = text.at; (at = find(at, end, lead)); at += lead.size) last = at + lead.size;
    if (last == NULL) return false;
    const char *close = memchr(last, '"', end - last);
    bool says = false;
    for (const char *at = last; close && at < close; at++) {
        if (!is_of_mark(*at)) return false;
        says = says || *at != '-';
    }
    *name = (Piece){last, close ? close - last : 0};
    return says;
}

static PyObject *playout_mark_returns(Playout *self, PyObject *message) {
    Piece name;
    if (!PyBytes_Check(message)) return PyErr_Format(PyExc_TypeError, "a message is bytes");
    if (!find_mark(bytes_piece(message), &name) || *name.at != 'a') Py_RETURN_FALSE;
    double now = time_of(self->clock);
    if (now == -1 && PyErr_Occurred()) return NULL;
    if (mark_is_reached(self, name.at, name.size, now) && !is_none(self->on_last)) {
        PyObject *told = Py_NewRef(self->on_last), *done = PyObject_CallFunction(told, "s#", name.at, name.size);
        Py_DECREF(told);
        Py_XDECREF(done);
        if (done == NULL) return NULL;
    }
    Py_RETURN_TRUE;
}

static PyObject *playout_tell(Playout *self, PyObject *args) {
    PyObject *on_first, *on_last;
    if (!PyArg_ParseTuple(args, "OO", &on_first, &on_last)) return NULL;
    refer(&self->on_first, on_first), refer(&self->on_last, on_last);
    Py_RETURN_NONE;
}

static PyObject *playout_drop(Playout *self, PyObject *response) {
    if (PySet_Add(self->dropped, response)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *playout_forget(Playout *self, PyObject *response) {
    if (PySet_Discard(self->dropped, response) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *playout_sent(Playout *self, PyObject *args) {
    PyObject *id;
    Py_ssize_t size;
    double now;
    char mark[MARK_ROOM];
    if (!PyArg_ParseTuple(args, "Und", &id, &size, &now)) return NULL;
    int first = note_sent(self, id, size, now, mark);
    return first < 0 ? NULL : Py_BuildValue("sO", mark, first ? Py_True : Py_False);
}

static PyObject *playout_last_mark(Playout *self, PyObject *none) {
    (void)none;
    char mark[MARK_ROOM];
    return next_mark(self, mark) ? PyUnicode_FromString(mark) : NULL;
}

static PyObject *playout_reached(Playout *self, PyObject *args) {
    PyObject *mark;
    double now;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "Ud", &mark, &now)) return NULL;
    const char *name = PyUnicode_AsUTF8AndSize(mark, &size);
    if (name) return PyBool_FromLong(mark_is_reached(self, name, size, now));
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return NULL;
    PyErr_Clear(); /* half a character, which no name of ours has */
    Py_RETURN_FALSE;
}

static PyObject *playout_clear_away(Playout *self, PyObject *time) {
    double now = PyFloat_AsDouble(time);
    PyObject *cut = now == -1 && PyErr_Occurred() ? NULL : PyList_New(0);
    for (size_t i = 0; cut && i < self->count; i++) {
        Item *item = &self->items[i];
        long long heard = heard_of(item, now);
        if (item->cut_ms >= 0 || heard >= (long long)item->sent_ms) continue;
        item->cut_ms = heard;
        PyObject *told = Py_BuildValue("OL", item->id, heard);
        if (told == NULL || PyList_Append(cut, told)) Py_CLEAR(cut);
        Py_XDECREF(told);
    }
    if (cut) self->open_count = 0, self->unmarked = NO_ITEM, self->clears++, self->ends_at = now;
    return cut;
}

/* --- what was heard --- */

static PyObject *playout_all_played(Playout *self, void *nothing) {
    (void)nothing;
    return PyBool_FromLong(all_played(self));
}

static PyObject *playout_audible(Playout *self, PyObject *time) {
    double now = PyFloat_AsDouble(time);
    if (now == -1 && PyErr_Occurred()) return NULL;
    return PyBool_FromLong(!all_played(self) && now < self->ends_at + LATE_MARK_SECONDS);
}

static PyObject *playout_sent_ms(Playout *self, PyObject *id) {
    Py_ssize_t place = place_of(self, id);
    return place == -2 ? NULL : PyLong_FromLongLong(place < 0 ? 0 : (long long)self->items[place].sent_ms);
}

static PyObject *playout_heard_ms(Playout *self, PyObject *args) {
    PyObject *id;
    double now;
    if (!PyArg_ParseTuple(args, "Od", &id, &now)) return NULL;
    Py_ssize_t place = place_of(self, id);
    return place == -2 ? NULL : PyLong_FromLongLong(place < 0 ? 0 : heard_of(&self->items[place], now));
}

/* --- the object --- */

static int playout_init(Playout *self, PyObject *args, PyObject *named) {
    static char *names[] = {"mark_every_ms", "clock", NULL};
    PyObject *clock = monotonic;
    self->mark_every_ms = MARK_EVERY_MS, self->unmarked = NO_ITEM;
    if (!PyArg_ParseTupleAndKeywords(args, named, "|dO", names, &self->mark_every_ms, &clock)) return -1;
    if (self->places) return PyErr_Format(PyExc_TypeError, "it has been made before"), -1;
    refer(&self->clock, kept_clock(clock));
    self->places = PyDict_New(), self->dropped = PySet_New(NULL), self->sounding = PyUnicode_FromString("");
    return self->places && self->dropped && self->sounding ? 0 : -1;
}

static int playout_traverse(Playout *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->clock); Py_VISIT(self->on_first); Py_VISIT(self->on_last);
    return 0;
}

static int playout_clear(Playout *self) {
    refer(&self->on_first, NULL), refer(&self->on_last, NULL), refer(&self->clock, NULL);
    return 0;
}

static void playout_dealloc(Playout *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    playout_clear(self);
    for (size_t i = 0; i < self->count; i++) Py_DECREF(self->items[i].id), PyMem_Free(self->items[i].marks_ms);
    PyMem_Free(self->items), PyMem_Free(self->open);
    Py_XDECREF(self->places), Py_XDECREF(self->dropped), Py_XDECREF(self->sounding);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef playout_methods[] = {
    {"tell", (PyCFunction)playout_tell, METH_VARARGS, "tell(on_first, on_last, /)"},
    {"passes", (PyCFunction)(void (*)(void))playout_passes, METH_FASTCALL, "passes(size, item_id, response, /)"},
    {"drop", (PyCFunction)playout_drop, METH_O, "drop(response, /)"},
    {"forget", (PyCFunction)playout_forget, METH_O, "forget(response, /)"},
    {"mark_returns", (PyCFunction)playout_mark_returns, METH_O, "mark_returns(message, /)"},
    {"sent", (PyCFunction)playout_sent, METH_VARARGS, "sent(item_id, size, now, /)"},
    {"last_mark", (PyCFunction)playout_last_mark, METH_NOARGS, "last_mark()"},
    {"reached", (PyCFunction)playout_reached, METH_VARARGS, "reached(mark, now, /)"},
    {"clear", (PyCFunction)playout_clear_away, METH_O, "clear(now, /)"},
    {"audible", (PyCFunction)playout_audible, METH_O, "audible(now, /)"},
    {"sent_ms", (PyCFunction)playout_sent_ms, METH_O, "sent_ms(item_id, /)"},
    {"heard_ms", (PyCFunction)playout_heard_ms, METH_VARARGS, "heard_ms(item_id, now, /)"},
    {NULL},
};

static PyMemberDef playout_members[] = {
    {"ends_at", T_DOUBLE, offsetof(Playout, ends_at), READONLY, NULL},
    {"sounding", T_OBJECT, offsetof(Playout, sounding), READONLY, NULL},
    {"just_sounded", T_BOOL, offsetof(Playout, just_sounded), 0, NULL},
    {NULL},
};

static PyGetSetDef playout_getters[] = {{"all_played", (getter)playout_all_played, NULL, NULL, NULL}, {NULL}};

static PyType_Slot playout_slots[] = {
    {Py_tp_doc, "Playout(mark_every_ms=2000, clock=time.monotonic): see playout.PythonPlayout."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, playout_init},
    {Py_tp_traverse, playout_traverse},
    {Py_tp_clear, playout_clear},
    {Py_tp_dealloc, playout_dealloc},
    {Py_tp_methods, playout_methods},
    {Py_tp_members, playout_members},
    {Py_tp_getset, playout_getters},
    {0, NULL},
};

static PyType_Spec playout_spec = {
    .name = "stream_service.wire._codec.Playout",
    .basicsize = sizeof(Playout),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = playout_slots,
};
