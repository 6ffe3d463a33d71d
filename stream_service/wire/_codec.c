/* The part of the audio path that touches every byte, compiled: frames, masks, the messages audio travels in, what waits
 * to be written, and the loop that moves it all. Optional: each piece has its like in Python, which says what it does and
 * is what it is tested against. No threads, and no memory but Python's and OpenSSL's.
 *
 *     python -m stream_service.wire.build_codec
 *
 * Only Python's stable interface of 3.11 is used, so that one build serves every version from there on. Everything here
 * runs under the interpreter's lock, but for the wait in `poll` and the vendors' handshakes, and calls no Python code while
 * a structure of ours is being changed. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "_codec_clock.h"
#include "_codec_messages.h"
#include "_codec_frames.h"
#include "_codec_decoder.h"
#include "_codec_outbox.h"
#include "_codec_journal.h"
#include "_codec_tls.h"
#include "_codec_lane.h"
#include "_codec_route.h"
#include "_codec_uplink.h"
#include "_codec_downlink.h"
#include "_codec_repeats.h"
#include "_codec_heard.h"
#include "_codec_playout.h"
#ifdef __linux__
#include "_codec_turn.h"
#include "_codec_mover.h"
#endif

static PyObject *codec_forget_masks(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    supply.left = 0;
    Py_RETURN_NONE;
}

static PyObject *codec_encode(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    (void)self;
    char *payload;
    Py_ssize_t size;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "encode takes 3 arguments, not %zd", count);
    long first = PyLong_AsLong(args[0]);
    if (first == -1 && PyErr_Occurred()) return NULL;
    if (PyBytes_AsStringAndSize(args[1], &payload, &size) < 0) return NULL;
    int masked = PyObject_IsTrue(args[2]);
    if (masked < 0) return NULL;
    return make_frame((uint8_t)first, &(Piece){payload, size}, 1, masked);
}

static PyMethodDef codec_methods[] = {
    {"encode", (PyCFunction)(void (*)(void))codec_encode, METH_FASTCALL, "encode(first, payload, mask, /)"},
    {"forget_masks", codec_forget_masks, METH_NOARGS, "forget_masks()"},
    {NULL},
};

static int codec_exec(PyObject *module) {
    struct {
        PyType_Spec *spec;
        PyTypeObject **kept;
    } types[] = {
        {&decoder_spec, &decoder_type}, {&outbox_spec, &outbox_type}, {&lane_spec, &lane_type},
        {&uplink_spec, &uplink_type}, {&downlink_spec, &downlink_type},
        {&repeats_spec, &repeats_type}, {&playout_spec, NULL},
#ifdef WITH_OPENSSL
        {&tls_spec, &tls_type}, {&tls_client_spec, NULL},
#endif
#ifdef __linux__
        {&mover_spec, NULL},
#endif
    };
    struct {
        const char *module, *name;
        PyObject **kept;
    } known[] = {
        {"ssl", "SSLWantReadError", &want_read}, {"ssl", "SSLWantWriteError", &want_write},
#ifdef WITH_OPENSSL
        {"ssl", "SSLError", &tls_error}, {"ssl", "SSLCertVerificationError", &certificate_error},
#endif
        {"time", "monotonic", &monotonic},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        PyObject *from = PyImport_ImportModule(known[i].module);
        *known[i].kept = from ? PyObject_GetAttrString(from, known[i].name) : NULL;
        Py_XDECREF(from);
        if (*known[i].kept == NULL) return -1;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(types[i].spec);
        if (type == NULL) return -1;
        /* A reference stays here for good, as the module does. */
        if (types[i].kept) *types[i].kept = (PyTypeObject *)Py_NewRef((PyObject *)type);
        int added = PyModule_AddType(module, type);
        Py_DECREF((PyObject *)type);
        if (added < 0) return -1;
    }
    return 0;
}

static PyModuleDef_Slot codec_slots[] = {{Py_mod_exec, codec_exec}, {0, NULL}};

static PyModuleDef codec_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "stream_service.wire._codec",
    .m_doc = "The compiled part of the audio path: see _codec.c.",
    .m_methods = codec_methods,
    .m_slots = codec_slots,
};

PyMODINIT_FUNC PyInit__codec(void) { return PyModuleDef_Init(&codec_module); }
