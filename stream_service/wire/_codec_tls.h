/* TLS with a vendor, as a client, by OpenSSL itself: Python's `ssl` lets go of the interpreter's lock, and takes it again,
 * for each of a call's fifty writes a second. Where OpenSSL's headers are not to be had at build time, Python's does it.
 *
 * What it insists on is what Python's `SSLContext(PROTOCOL_TLS_CLIENT)` does: TLS 1.2 at least, a certificate that one of
 * the given authorities vouches for, and for this host. Used by one thread at a time. Source: OpenSSL 3.0 manual pages,
 * section 3. */
#pragma once

static PyObject *want_read, *want_write; /* ssl.SSLWantReadError, SSLWantWriteError */

/* Python's own TLS: its `read` and `write` of the same sizes. -1 with an error. */
static Py_ssize_t ask_to_read(PyObject *receive, uint8_t *into, Py_ssize_t room) {
    PyObject *kept = Py_NewRef(receive), *most = PyLong_FromSsize_t(room), *data = NULL;
    char *bytes;
    Py_ssize_t size = -1;
    if (most) data = PyObject_CallFunctionObjArgs(kept, most, NULL);
    if (data && PyBytes_AsStringAndSize(data, &bytes, &size) == 0) {
        if (size > room) size = -1, PyErr_SetString(PyExc_ValueError, "more than was asked for");
        else memcpy(into, bytes, size);
    }
    Py_DECREF(kept);
    Py_XDECREF(most), Py_XDECREF(data);
    return size;
}

static Py_ssize_t ask_to_write(PyObject *send, PyObject *data) {
    PyObject *kept = Py_NewRef(send), *sent = PyObject_CallFunctionObjArgs(kept, data, NULL);
    Py_ssize_t done = sent ? PyLong_AsSsize_t(sent) : -1;
    Py_DECREF(kept);
    Py_XDECREF(sent);
    return done;
}

#ifdef WITH_OPENSSL
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

typedef struct {
    PyObject_HEAD
    SSL_CTX *context;
} TlsClient;

typedef struct {
    PyObject_HEAD
    SSL *ssl; /* NULL once it is closed */
    int fd;
} Tls;

static PyTypeObject *tls_type;
static PyObject *tls_error, *certificate_error; /* ssl.SSLError, SSLCertVerificationError */

/* Whatever OpenSSL has to say is raised; NULL. */
static void *tls_raises(const char *doing) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    bool certificate = code && ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    PyErr_Format(certificate ? certificate_error : tls_error, "%s: %s", doing, reason ? reason : "no reason given");
    ERR_clear_error();
    return NULL;
}

/* What the last step came to: -1 with an error, of which two only say what to wait for; 0 at the peer's end.
 *
 * SSL_get_error believes in any error that somebody has left in the thread's queue. Emptying that before each step is dear,
 * so it is done when it could mislead: when the step only waits, or found the peer's end. */
static Py_ssize_t tls_left(Tls *self, int result, const char *doing) {
    int number = errno;
    if (SSL_want(self->ssl) != SSL_NOTHING || SSL_get_shutdown(self->ssl) & SSL_RECEIVED_SHUTDOWN) ERR_clear_error();
    int error = SSL_get_error(self->ssl, result);
    switch (error) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ: PyErr_SetString(want_read, doing); return -1;
    case SSL_ERROR_WANT_WRITE: PyErr_SetString(want_write, doing); return -1;
    case SSL_ERROR_SYSCALL:
        if (ERR_peek_error() == 0) {
            errno = number ? number : ECONNRESET;
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        break;
    default: break;
    }
    tls_raises(doing);
    return -1;
}

static bool is_usable(const Tls *self) {
    if (self->ssl) return true;
    errno = EBADF; /* the number may be another connection's by now */
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
}

/* Whether some of what has left the kernel has not been asked for. A record's beginning is OpenSSL's, and is not meant. */
static bool tls_waits(const Tls *self) {
    return self->ssl && (BIO_ctrl_pending(SSL_get_rbio(self->ssl)) || SSL_pending(self->ssl));
}

/* Takes what has come from the kernel in one go: left to itself, OpenSSL asks for each record's head and body apart. False
 * with an error, of which one only says that nothing has come. */
static bool tls_fills(Tls *self) {
    uint8_t bytes[1 << 14];
    BIO *into = SSL_get_rbio(self->ssl);
    ssize_t size = recv(self->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size > 0) return BIO_write(into, bytes, (int)size) == size || (tls_raises("reading"), false);
    if (size == 0) return BIO_set_mem_eof_return(into, 0), true; /* from here on it is at its end, and not just empty */
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) PyErr_SetString(want_read, "reading");
    else PyErr_SetFromErrno(PyExc_OSError);
    return false;
}

/* So many bytes that have come; 0 at the peer's end, -1 with an error. */
static Py_ssize_t tls_take(Tls *self, uint8_t *into, Py_ssize_t room) {
    size_t size;
    if (!is_usable(self) || (!tls_waits(self) && !tls_fills(self))) return -1;
    errno = 0;
    int result = SSL_read_ex(self->ssl, into, room, &size);
    return result == 1 ? (Py_ssize_t)size : tls_left(self, result, "reading");
}

/* So many bytes were taken; -1 with an error. */
static Py_ssize_t tls_give(Tls *self, const char *from, Py_ssize_t size) {
    size_t done;
    if (!is_usable(self)) return -1;
    errno = 0;
    int result = SSL_write_ex(self->ssl, from, size, &done);
    if (result == 1) return (Py_ssize_t)done;
    if (tls_left(self, result, "writing") == 0) errno = EPIPE, PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static PyObject *tls_handshake(Tls *self, PyObject *none) {
    (void)none;
    if (!is_usable(self)) return NULL;
    ERR_clear_error();
    for (;;) {
        int result, error;
        Py_BEGIN_ALLOW_THREADS
        errno = 0;
        result = SSL_do_handshake(self->ssl);
        error = SSL_get_error(self->ssl, result);
        Py_END_ALLOW_THREADS
        if (result == 1) Py_RETURN_NONE;
        if (error == SSL_ERROR_WANT_READ) {
            if (!tls_fills(self)) return NULL;
            continue;
        }
        long verdict = SSL_get_verify_result(self->ssl);
        if (verdict != X509_V_OK) {
            ERR_clear_error();
            return PyErr_Format(certificate_error, "certificate refused: %s", X509_verify_cert_error_string(verdict));
        }
        if (tls_left(self, result, "handshake") == 0) PyErr_SetString(PyExc_ConnectionResetError, "ended within the handshake");
        return NULL;
    }
}

static PyObject *tls_read(Tls *self, PyObject *most) {
    Py_ssize_t room = PyLong_AsSsize_t(most);
    if (room < 0) return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "a negative size");
    uint8_t *into = PyMem_Malloc(room ? room : 1);
    if (into == NULL) return PyErr_NoMemory();
    Py_ssize_t size = tls_take(self, into, room);
    PyObject *data = size < 0 ? NULL : PyBytes_FromStringAndSize((char *)into, size);
    PyMem_Free(into);
    return data;
}

static PyObject *tls_write(Tls *self, PyObject *data) {
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)) return NULL;
    Py_ssize_t size = view.len ? tls_give(self, view.buf, view.len) : 0;
    PyBuffer_Release(&view);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *tls_pending(Tls *self, PyObject *none) {
    (void)none;
    int ready = self->ssl ? SSL_pending(self->ssl) : 0;
    return PyLong_FromLong(ready ? ready : tls_waits(self));
}

static PyObject *tls_close(Tls *self, PyObject *none) {
    (void)none;
    SSL_free(self->ssl);
    self->ssl = NULL;
    Py_RETURN_NONE;
}

static void tls_dealloc(Tls *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    SSL_free(self->ssl);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef tls_methods[] = {
    {"handshake", (PyCFunction)tls_handshake, METH_NOARGS, "handshake()"},
    {"read", (PyCFunction)tls_read, METH_O, "read(most, /)"},
    {"write", (PyCFunction)tls_write, METH_O, "write(data, /)"},
    {"pending", (PyCFunction)tls_pending, METH_NOARGS, "pending()"},
    {"close", (PyCFunction)tls_close, METH_NOARGS, "close()"},
    {NULL},
};

static PyType_Slot tls_slots[] = {
    {Py_tp_doc, "What `TlsClient.connect` gives: one connection."},
    {Py_tp_dealloc, tls_dealloc},
    {Py_tp_methods, tls_methods},
    {0, NULL},
};

static PyType_Spec tls_spec = {
    .name = "stream_service.wire._codec.Tls",
    .basicsize = sizeof(Tls),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = tls_slots,
};

/* --- what all connections have in common --- */

static PyObject *tls_client_new(PyTypeObject *type, PyObject *args, PyObject *named) {
    (void)named;
    const char *file, *folder;
    if (!PyArg_ParseTuple(args, "zz", &file, &folder)) return NULL;
    TlsClient *self = (TlsClient *)PyType_GenericNew(type, args, NULL);
    if (self == NULL) return NULL;
    ERR_clear_error();
    self->context = SSL_CTX_new(TLS_client_method());
    bool done = self->context && SSL_CTX_set_min_proto_version(self->context, TLS1_2_VERSION) &&
                (!file || SSL_CTX_load_verify_file(self->context, file)) &&
                (!folder || SSL_CTX_load_verify_dir(self->context, folder));
    if (!done) {
        tls_raises("authorities");
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    SSL_CTX_set_verify(self->context, SSL_VERIFY_PEER, NULL);
    /* A WebSocket says by a close frame that it ends; one that ends without is told as what it is. */
    SSL_CTX_set_options(self->context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(self->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(self->context, SSL_SESS_CACHE_OFF);
    return (PyObject *)self;
}

/* A certificate for an address names it in another way than one for a host. */
static bool expect(SSL *ssl, const char *host) {
    X509_VERIFY_PARAM *wanted = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host)) return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(wanted, host, 0) && SSL_set_tlsext_host_name(ssl, host);
}

static PyObject *tls_client_connect(TlsClient *self, PyObject *args) {
    int fd;
    const char *host;
    if (!PyArg_ParseTuple(args, "is", &fd, &host)) return NULL;
    if (!*host) return PyErr_Format(PyExc_ValueError, "no host, so nobody's certificate would do");
    Tls *tls = (Tls *)PyType_GenericAlloc(tls_type, 0);
    if (tls == NULL) return NULL;
    ERR_clear_error();
    tls->fd = fd;
    tls->ssl = SSL_new(self->context);
    BIO *come = tls->ssl ? BIO_new(BIO_s_mem()) : NULL;
    if (come) SSL_set0_rbio(tls->ssl, come);
    if (come && SSL_set_wfd(tls->ssl, fd) && expect(tls->ssl, host)) {
        SSL_set_connect_state(tls->ssl);
        return (PyObject *)tls;
    }
    tls_raises("connection");
    Py_DECREF((PyObject *)tls);
    return NULL;
}

static void tls_client_dealloc(TlsClient *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    SSL_CTX_free(self->context);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef tls_client_methods[] = {
    {"connect", (PyCFunction)tls_client_connect, METH_VARARGS, "connect(fd, host, /)"},
    {NULL},
};

static PyType_Slot tls_client_slots[] = {
    {Py_tp_doc, "TlsClient(cafile, capath): see stream_service.tls."},
    {Py_tp_new, tls_client_new},
    {Py_tp_dealloc, tls_client_dealloc},
    {Py_tp_methods, tls_client_methods},
    {0, NULL},
};

static PyType_Spec tls_client_spec = {
    .name = "stream_service.wire._codec.TlsClient",
    .basicsize = sizeof(TlsClient),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = tls_client_slots,
};

/* The compiled TLS whose methods these are; NULL when they are Python's, or somebody else's. Borrowed. */
static PyObject *tls_behind(PyObject *receive, PyObject *send) {
    if (!PyCFunction_Check(receive) || !PyCFunction_Check(send)) return NULL;
    PyObject *self = PyCFunction_GetSelf(receive);
    return self && self == PyCFunction_GetSelf(send) && Py_TYPE(self) == tls_type ? self : NULL;
}

#else

typedef PyObject Tls; /* there is none */
static Py_ssize_t tls_take(Tls *self, uint8_t *into, Py_ssize_t room) { return (void)self, (void)into, (void)room, -1; }
static Py_ssize_t tls_give(Tls *self, const char *from, Py_ssize_t size) { return (void)self, (void)from, (void)size, -1; }
static bool tls_waits(const Tls *self) { return (void)self, false; }
static PyObject *tls_behind(PyObject *receive, PyObject *send) { return (void)receive, (void)send, NULL; }

#endif
