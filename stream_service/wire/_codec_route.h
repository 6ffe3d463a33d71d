/* What the two routes have in common: messages taken out of what has come, frames sent on, and Python asked about the rest.
 * A lane's route is what takes the audio that comes there (`Uplink`, `Downlink`). */
#pragma once

/* Of the mover, which is further down. */
static bool batch_leaves(struct Mover *mover);
static uint8_t *room_in_batch(Lane *lane, Py_ssize_t size, Py_ssize_t limit);
static void leave_room(Lane *lane, Py_ssize_t size);
static uint8_t *unmasking_room(const Lane *lane);

/* `flush` is a lane, or what Python gave for one; false with an error. */
static bool have_written(PyObject *flush) {
    if (Py_TYPE(flush) == lane_type) return lane_wants_writing((Lane *)flush);
    PyObject *kept = Py_NewRef(flush), *done = PyObject_CallNoArgs(kept);
    Py_DECREF(kept);
    Py_XDECREF(done);
    return done != NULL;
}

/* Queues a frame; false with an error. Who has too much control waiting is found out by the connection, which looks. */
static bool queue_frame(Outbox *outbox, bool is_audio, uint8_t first, const Piece *pieces, int count, bool masked) {
    PyObject *frame = make_frame(first, pieces, count, masked);
    bool done = frame && (is_audio ? put_audio(outbox, frame) : put_control(outbox, frame)) >= 0;
    Py_XDECREF(frame);
    return done;
}

/* Has a frame leave with this turn of the mover when nothing is in its way, and else queues it and has it written: `flush`
 * is a lane, or what Python gave for one. False with an error. */
static bool send_frame(Outbox *outbox, PyObject *flush, bool is_audio, uint8_t first, const Piece *pieces, int count, bool masked) {
    if (Py_TYPE(flush) == lane_type && ((Lane *)flush)->outbox == (PyObject *)outbox) {
        Py_ssize_t length = size_of(pieces, count), size = frame_size(length, masked);
        uint8_t *room = room_in_batch((Lane *)flush, size, is_audio ? outbox->audio_limit : outbox->control_limit);
        if (room && write_frame(room, first, pieces, count, length, masked)) return true;
        if (room) leave_room((Lane *)flush, size);
        if (PyErr_Occurred()) return false;
    }
    bool was_empty = outbox->size == 0;
    return queue_frame(outbox, is_audio, first, pieces, count, masked) && (!was_empty || outbox->size == 0 || have_written(flush));
}

/* Whether the next message, too, may go by this route. Each may change that, and so may other threads while TLS or Python
 * is at work. */
static bool goes_on(const Lane *self, const void *route) {
    return self->mover && self->open && !self->held && self->route == route;
}

/* Ask Python's part of a route about a message: 1 when it takes it, 0 when it is for whoever is behind the route, -1 with
 * an error. What has been written down before goes out before, because Python may have more to say to the same peer. */
static int ask(PyObject *other, Piece text, Lane *lane) {
    if (is_none(other)) return 0;
    if (!batch_leaves(lane->mover)) return -1;
    PyObject *kept = Py_NewRef(other), *message = PyBytes_FromStringAndSize(text.at, text.size);
    PyObject *answer = message ? PyObject_CallFunctionObjArgs(kept, message, NULL) : NULL;
    int taken = answer ? PyObject_IsTrue(answer) : -1;
    Py_DECREF(kept);
    Py_XDECREF(message), Py_XDECREF(answer);
    lane->asked = taken == 0;
    return taken;
}

/* The text message that comes first in the decoder, when it is here, in one frame, valid and short; where the next frame
 * begins. 0 for anything else, which `pull` sees to. What has to be unmasked is so in `room`, for AT_ONCE bytes. */
static Py_ssize_t whole_text(const Decoder *decoder, uint8_t *room, Piece *text) {
    if (decoder->data == NULL || decoder->left || decoder->opcode) return 0;
    const uint8_t *data = decoder->data;
    Py_ssize_t at = decoder->position, size = decoder->size;
    if (size - at < 4) return 0;
    if (data[at] != (FIN | OP_TEXT) || (data[at + 1] & 0x80) != decoder->mask_bit) return 0;
    Py_ssize_t length = data[at + 1] & 0x7F, start = at + 2 + (decoder->mask_bit ? 4 : 0);
    if (length > 126) return 0;
    if (length == 126) {
        length = data[at + 2] << 8 | data[at + 3], start += 2;
        if (length < 126) return 0;
    }
    if (length > AT_ONCE || length > decoder->room || length > size - start) return 0;
    const uint8_t *payload = data + start;
    if (decoder->mask_bit) copy_masked(room, payload, length, payload - 4), payload = room;
    Utf8 utf8 = {0};
    if (!utf8_goes_on(&utf8, payload, length) || utf8.needed) return 0;
    *text = (Piece){(const char *)payload, length};
    return start + length;
}

/* A route that is all Python's, asked message by message; how many it took, -1 with an error. */
static long python_drains(PyObject *route, Decoder *decoder, Lane *lane) {
    long count = 0;
    Piece text;
    Py_ssize_t next;
    while (goes_on(lane, route) && (next = whole_text(decoder, unmasking_room(lane), &text))) {
        int taken = ask(route, text, lane);
        if (taken < 0) return -1;
        if (!taken) break;
        decoder->position = next;
        count++;
    }
    return count;
}
