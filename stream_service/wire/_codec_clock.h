/* What time it is, by a clock that Python gave: its own is read without asking it, where that is the same. */
#pragma once
#include <time.h>

static PyObject *monotonic; /* time.monotonic */

/* What to keep of a clock: NULL for the one that is `seconds`. */
static PyObject *kept_clock(PyObject *clock) {
#ifdef __linux__
    if (clock == monotonic) return NULL;
#endif
    return clock;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* By a clock that was kept; -1 with an error. */
static double time_of(PyObject *kept) {
    if (kept == NULL) return seconds();
    PyObject *now = PyObject_CallNoArgs(kept);
    double seconds = now ? PyFloat_AsDouble(now) : -1;
    Py_XDECREF(now);
    return seconds;
}
