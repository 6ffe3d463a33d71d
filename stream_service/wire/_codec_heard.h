/* What of the bot's audio the caller has heard: the reckoning behind `playout.PythonPlayout`'s like. Marks are numbered, and
 * their names are made when they are needed. */
#pragma once
#include <stdio.h>

enum { BYTES_PER_MS = 8, MARK_EVERY_MS = 2000, MARK_ROOM = 48 };
static const double LATE_MARK_SECONDS = 2.0;

typedef struct {
    PyObject *id; /* str */
    double sent_at, starts_at, sent_ms, reached_ms;
    double *marks_ms;
    size_t marks, marks_room;
    long long cut_ms; /* -1: it was not cut */
} Item;

typedef struct {
    long long number;
    size_t item;
    double ms;
} OpenMark;

enum { NO_ITEM = -1 };

typedef struct {
    PyObject_HEAD
    PyObject *clock; /* NULL: time.monotonic */
    PyObject *on_first, *on_last;
    PyObject *places; /* dict: item's id -> its place in `items` */
    PyObject *dropped; /* set of str */
    PyObject *sounding; /* str */
    Item *items;
    size_t count, room;
    OpenMark *open;
    size_t open_count, open_room;
    double mark_every_ms, ends_at;
    long long clears, marks;
    Py_ssize_t unmarked; /* the place of the item of which audio was sent that no mark stands behind, or NO_ITEM */
    char just_sounded;
} Playout;

/* Room for one more; false with an error. */
static bool grown(void **things, size_t count, size_t *room, size_t size) {
    if (count < *room) return true;
    size_t more = *room ? *room * 2 : 4;
    void *larger = PyMem_Realloc(*things, more * size);
    if (larger == NULL) return PyErr_NoMemory(), false;
    *things = larger, *room = more;
    return true;
}

/* NO_ITEM when it is not known, -2 with an error. */
static Py_ssize_t place_of(const Playout *self, PyObject *id) {
    PyObject *place = PyDict_GetItemWithError(self->places, id);
    return place ? PyLong_AsSsize_t(place) : PyErr_Occurred() ? -2 : NO_ITEM;
}

static double later(double one, double other) { return one > other ? one : other; }

/* Its place; -1 with an error. */
static Py_ssize_t new_item(Playout *self, PyObject *id, double now) {
    if (!grown((void **)&self->items, self->count, &self->room, sizeof *self->items)) return -1;
    PyObject *place = PyLong_FromSize_t(self->count);
    int done = place ? PyDict_SetItem(self->places, id, place) : -1;
    Py_XDECREF(place);
    if (done < 0) return -1;
    double begins = later(now, self->ends_at);
    self->items[self->count] = (Item){.id = Py_NewRef(id), .sent_at = begins, .starts_at = begins, .cut_ms = -1};
    return (Py_ssize_t)self->count++;
}

static bool all_played(const Playout *self) { return self->open_count == 0 && self->unmarked == NO_ITEM; }

static void write_mark(const Playout *self, long long number, char name[MARK_ROOM]) {
    snprintf(name, MARK_ROOM, "a%lld-%lld", self->clears, number);
}

/* The mark behind all that was sent, empty when there is one; false with an error. */
static bool next_mark(Playout *self, char name[MARK_ROOM]) {
    name[0] = '\0';
    if (self->unmarked == NO_ITEM) return true;
    Item *item = &self->items[self->unmarked];
    if (!grown((void **)&item->marks_ms, item->marks, &item->marks_room, sizeof *item->marks_ms) ||
        !grown((void **)&self->open, self->open_count, &self->open_room, sizeof *self->open))
        return false;
    item->marks_ms[item->marks++] = item->sent_ms;
    self->open[self->open_count++] = (OpenMark){++self->marks, (size_t)self->unmarked, item->sent_ms};
    self->unmarked = NO_ITEM;
    write_mark(self, self->marks, name);
    return true;
}

/* 1 when it is an item's first piece, 0 when not, -1 with an error. */
static int note_sent(Playout *self, PyObject *id, Py_ssize_t size, double now, char mark[MARK_ROOM]) {
    Py_ssize_t place = place_of(self, id);
    bool first = place == NO_ITEM;
    if (first) place = new_item(self, id, now);
    if (place < 0) return -1;
    Item *item = &self->items[place];
    self->ends_at = later(now, self->ends_at) + (double)size / BYTES_PER_MS / 1000;
    item->sent_ms += (double)size / BYTES_PER_MS;
    self->unmarked = place;
    mark[0] = '\0';
    bool due = item->sent_ms - (item->marks ? item->marks_ms[item->marks - 1] : 0.0) >= self->mark_every_ms;
    return due && !next_mark(self, mark) ? -1 : first;
}

/* True when it was the last that was waited for. */
static bool mark_is_reached(Playout *self, const char *mark, size_t size, double now) {
    char name[MARK_ROOM];
    for (size_t i = 0; i < self->open_count; i++) {
        OpenMark found = self->open[i];
        write_mark(self, found.number, name);
        if (strlen(name) != size || memcmp(name, mark, size)) continue;
        memmove(&self->open[i], &self->open[i + 1], (--self->open_count - i) * sizeof *self->open);
        Item *item = &self->items[found.item];
        item->reached_ms = later(item->reached_ms, found.ms);
        item->starts_at = later(item->sent_at, now - found.ms / 1000);
        return all_played(self);
    }
    return false;
}

static long long heard_of(const Item *item, double now) {
    if (item->cut_ms >= 0) return item->cut_ms;
    double heard = later(later(0.0, (now - item->starts_at) * 1000), item->reached_ms), most = item->sent_ms;
    for (size_t i = 0; i < item->marks; i++) {
        if (item->marks_ms[i] <= item->reached_ms) continue;
        most = item->marks_ms[i];
        break;
    }
    return (long long)(heard < most ? heard : most);
}
