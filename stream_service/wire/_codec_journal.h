/* The like of `engines.journal.Journal`: the caller's last seconds. In one piece of memory, because with hundreds of calls
 * each chunk apart would be somewhere else, and in no cache any more when it is let go. */
#pragma once

typedef struct {
    uint32_t size, ulaw; /* how many bytes are kept, and how many of mu-law they stand for */
} Chunk;

typedef struct {
    uint8_t *ring; /* chunks in order, each behind its Chunk; a power of two, so that places wrap by a mask */
    size_t room, first, used;
    Py_ssize_t idle_bytes, most_bytes;
    long long position, start;
    long long *needed; /* where utterances began that have not been understood yet */
    size_t needed_count, needed_room;
} Journal;

enum { LEAST_RING = 4096 };

static void ring_write(Journal *self, size_t place, const void *from, size_t size) {
    size_t at = place & (self->room - 1), whole = size < self->room - at ? size : self->room - at;
    memcpy(self->ring + at, from, whole);
    memcpy(self->ring, (const uint8_t *)from + whole, size - whole);
}

static void ring_read(const Journal *self, size_t place, void *to, size_t size) {
    size_t at = place & (self->room - 1), whole = size < self->room - at ? size : self->room - at;
    memcpy(to, self->ring + at, whole);
    memcpy((uint8_t *)to + whole, self->ring, size - whole);
}

/* False with an error. */
static bool ring_resize(Journal *self, size_t room) {
    uint8_t *ring = PyMem_Malloc(room);
    if (ring == NULL) return PyErr_NoMemory(), false;
    if (self->used) ring_read(self, self->first, ring, self->used);
    PyMem_Free(self->ring);
    self->ring = ring, self->room = room, self->first = 0;
    return true;
}

static Chunk oldest_chunk(const Journal *self, size_t place) {
    Chunk chunk;
    ring_read(self, place, &chunk, sizeof chunk);
    return chunk;
}

static void forget_oldest(Journal *self) {
    Chunk chunk = oldest_chunk(self, self->first);
    self->first = (self->first + sizeof chunk + chunk.size) & (self->room - 1);
    self->used -= sizeof chunk + chunk.size;
    self->start += chunk.ulaw;
}

/* False with an error. */
static bool journal_append(Journal *self, Piece audio, Py_ssize_t ulaw) {
    Chunk chunk = {(uint32_t)audio.size, (uint32_t)ulaw};
    size_t needed = self->used + sizeof chunk + audio.size, room = self->room ? self->room : LEAST_RING;
    while (room < needed) room *= 2;
    if (room != self->room && !ring_resize(self, room)) return false;
    ring_write(self, self->first + self->used, &chunk, sizeof chunk);
    ring_write(self, self->first + self->used + sizeof chunk, audio.at, audio.size);
    self->used = needed;
    self->position += ulaw;
    Py_ssize_t bound = self->needed_count ? self->most_bytes : self->idle_bytes;
    while (self->position - self->start > bound) forget_oldest(self);
    return true;
}

/* False with an error. */
static bool journal_need_from(Journal *self, long long position) {
    if (self->needed_count == self->needed_room) {
        size_t room = self->needed_room ? self->needed_room * 2 : 8;
        long long *needed = PyMem_Realloc(self->needed, room * sizeof *needed);
        if (needed == NULL) return PyErr_NoMemory(), false;
        self->needed = needed, self->needed_room = room;
    }
    self->needed[self->needed_count++] = position;
    return true;
}

/* False with an error. */
static bool journal_settled(Journal *self, long long position) {
    size_t done = 0;
    while (done < self->needed_count && self->needed[done] < position) done++;
    self->needed_count -= done;
    if (done) memmove(self->needed, self->needed + done, self->needed_count * sizeof *self->needed);
    while (self->used && self->start + (long long)oldest_chunk(self, self->first).ulaw <= position) forget_oldest(self);
    /* What a long utterance took is given back, to the system and to the caches. */
    size_t room = self->room;
    while (room > LEAST_RING && self->used < room / 4) room /= 2;
    return room == self->room || ring_resize(self, room);
}

static void journal_clear(Journal *self) {
    PyMem_Free(self->ring), PyMem_Free(self->needed);
    self->ring = NULL, self->needed = NULL;
    self->room = self->first = self->used = self->needed_count = self->needed_room = 0;
}
