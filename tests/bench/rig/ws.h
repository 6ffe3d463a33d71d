/* The smallest WebSocket that a ruler needs: one epoll loop, whole frames, ping and close. No product uses it.
 *
 * Shared by rig.c (callers and vendors) and floor_relay.c (the least that a relay can cost). Both define on_open,
 * on_message and on_close. Fragments and extensions end the program: nobody here sends any. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "encodings.h"

enum { CONNECTING, SHAKING, OPEN, CLOSED };
enum { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

typedef struct Conn {
    int fd, state, kind; /* kind and user belong to the program */
    bool client, want_write, deaf;
    uint8_t *in, *out;
    size_t in_size, in_room, out_size, out_room;
    char target[512]; /* of the request that opened it */
    char *request;    /* what a client says once it is connected */
    SSL *ssl;
    void *user;
} Conn;

static int epoll_fd;
static int segment_bytes; /* of TCP, at most; 0: as many as the loopback takes */
static SSL_CTX *tls_server, *tls_client;

static void on_open(Conn *c);
static void on_message(Conn *c, int op, uint8_t *data, size_t size);
static void on_close(Conn *c);

static inline double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static inline void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(3);
}

/* One file with a certificate and its key; whoever checks it is told by a setting to trust it. */
static inline void tls_load(const char *pem) {
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without asking for none */
    tls_server = SSL_CTX_new(TLS_server_method());
    tls_client = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_use_certificate_file(tls_server, pem, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_server, pem, SSL_FILETYPE_PEM) != 1)
        die("cannot read the certificate");
    long mode = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
    SSL_CTX_set_mode(tls_server, mode);
    SSL_CTX_set_mode(tls_client, mode);
}

static inline void tls_wrap(Conn *c) {
    if (!tls_server) return;
    c->ssl = SSL_new(c->client ? tls_client : tls_server);
    SSL_set_fd(c->ssl, c->fd);
    if (c->client) SSL_set_connect_state(c->ssl);
    else SSL_set_accept_state(c->ssl);
}

/* Bytes moved, 0 at the peer's end, -1 with errno EAGAIN when it must wait and something else when it is broken. */
static ssize_t tls_result(Conn *c, int moved) {
    if (moved > 0) return moved;
    int error = SSL_get_error(c->ssl, moved);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return -1;
}

static ssize_t conn_send(Conn *c, const uint8_t *data, size_t size) {
    return c->ssl ? tls_result(c, SSL_write(c->ssl, data, size)) : send(c->fd, data, size, MSG_NOSIGNAL);
}

static ssize_t conn_recv(Conn *c, uint8_t *data, size_t size) {
    return c->ssl ? tls_result(c, SSL_read(c->ssl, data, size)) : recv(c->fd, data, size, 0);
}

static void conn_watch(Conn *c) {
    uint32_t events = (c->deaf ? 0 : EPOLLIN) | (c->want_write || c->state == CONNECTING ? EPOLLOUT : 0);
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){.events = events, .data.ptr = c});
}

static void conn_drop(Conn *c) {
    if (c->state == CLOSED) return;
    c->state = CLOSED;
    close(c->fd);
    on_close(c);
}

static void conn_write(Conn *c, const void *data, size_t size) {
    const uint8_t *from = data;
    if (c->state == CLOSED) return;
    if (!c->out_size) {
        ssize_t sent = conn_send(c, from, size);
        if (sent < 0 && errno != EAGAIN) {
            conn_drop(c);
            return;
        }
        if (sent > 0) from += sent, size -= sent;
        if (!size) return;
    }
    if (c->out_size + size > c->out_room) c->out = realloc(c->out, c->out_room = (c->out_size + size) * 2);
    memcpy(c->out + c->out_size, from, size);
    c->out_size += size;
    if (!c->want_write) c->want_write = true, conn_watch(c);
}

static void ws_send(Conn *c, int op, const void *data, size_t size) {
    static uint8_t frame[1 << 18];
    size_t head = 2;
    if (size > sizeof frame - 16) die("a message too long to send");
    frame[0] = 0x80 | op;
    if (size < 126) frame[1] = size;
    else if (size < 65536) frame[1] = 126, frame[2] = size >> 8, frame[3] = size, head = 4;
    else {
        frame[1] = 127, head = 10;
        for (int i = 0; i < 8; i++) frame[2 + i] = (uint64_t)size >> (56 - 8 * i);
    }
    if (c->client) {
        uint32_t mask = rnd();
        frame[1] |= 0x80;
        memcpy(frame + head, &mask, 4), head += 4;
        memcpy(frame + head, data, size);
        mask_bytes(frame + head, size, mask);
    } else memcpy(frame + head, data, size);
    conn_write(c, frame, head + size);
}

static inline void ws_text(Conn *c, const char *text) { ws_send(c, OP_TEXT, text, strlen(text)); }

static void conn_begin(Conn *c, int fd, bool client) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    c->fd = fd, c->client = client, c->state = client ? CONNECTING : SHAKING;
    c->in = malloc(c->in_room = 8192);
    uint32_t events = EPOLLIN | (client ? EPOLLOUT : 0);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = events, .data.ptr = c});
}

static void segments_limit(int fd) { /* before there is a connection: the other side is told as it opens */
    if (segment_bytes) setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment_bytes, sizeof segment_bytes);
}

static struct sockaddr_in here(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* `headers`: further lines of the request, each with its CR LF. */
static void ws_connect(Conn *c, int port, const char *target, const char *headers, bool tls) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = here(port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    segments_limit(fd);
    if (asprintf(&c->request,
                 "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                 target, port, headers) < 0)
        die("no memory");
    int result = connect(fd, (void *)&address, sizeof address);
    conn_begin(c, fd, true);
    if (tls) tls_wrap(c);
    if (result < 0 && errno != EINPROGRESS) conn_drop(c);
}

/* A listener on the loopback; port 0 has a free one chosen, which *port then is. */
static int ws_listen(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = here(*port);
    socklen_t size = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    segments_limit(fd);
    if (bind(fd, (void *)&address, size) || listen(fd, 1024)) die("cannot listen");
    getsockname(fd, (void *)&address, &size);
    *port = ntohs(address.sin_port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    return fd;
}

static bool shake_hands(Conn *c) {
    char *end = memmem(c->in, c->in_size, "\r\n\r\n", 4);
    if (!end) return false;
    size_t used = end + 4 - (char *)c->in;
    char *head = (char *)c->in;
    end[2] = 0;
    if (c->client) {
        if (strncmp(head, "HTTP/1.1 101", 12)) {
            fprintf(stderr, "refused: %.60s\n", head);
            conn_drop(c);
            return false;
        }
    } else {
        char key[128] = "", accept[64], answer[256];
        char *field = strcasestr(head, "sec-websocket-key:");
        if (sscanf(head, "GET %511s", c->target) != 1 || !field || sscanf(field + 18, " %60s", key) != 1) {
            conn_drop(c);
            return false;
        }
        ws_accept_key(key, accept);
        int size = snprintf(answer, sizeof answer,
                            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
        conn_write(c, answer, size);
    }
    memmove(c->in, c->in + used, c->in_size -= used);
    c->state = OPEN;
    on_open(c);
    return c->state == OPEN;
}

static void take_frames(Conn *c) {
    size_t at = 0;
    while (c->state == OPEN && c->in_size - at >= 2) {
        uint8_t *head = c->in + at;
        size_t skip = 2, size = head[1] & 127;
        if (size == 126) {
            if (c->in_size - at < 4) break;
            size = head[2] << 8 | head[3], skip = 4;
        } else if (size == 127) {
            if (c->in_size - at < 10) break;
            size = 0, skip = 10;
            for (int i = 0; i < 8; i++) size = size << 8 | head[2 + i];
        }
        bool masked = head[1] & 0x80;
        if (c->in_size - at < skip + 4 * masked + size) break;
        if (masked) {
            uint32_t mask;
            memcpy(&mask, head + skip, 4), skip += 4;
            mask_bytes(head + skip, size, mask);
        }
        int op = head[0] & 15;
        if (!(head[0] & 0x80) || op == 0 || head[0] & 0x70) die("a fragmented or extended frame");
        if (op == OP_PING) ws_send(c, OP_PONG, head + skip, size);
        else if (op == OP_CLOSE) ws_send(c, OP_CLOSE, head + skip, size < 2 ? size : 2), conn_drop(c);
        else if (op <= OP_BINARY) on_message(c, op, head + skip, size);
        at += skip + size;
    }
    if (c->state != CLOSED) memmove(c->in, c->in + at, c->in_size -= at);
}

static void conn_writable(Conn *c) {
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            conn_drop(c);
            return;
        }
        c->state = SHAKING;
        conn_watch(c);
        conn_write(c, c->request, strlen(c->request));
        free(c->request), c->request = NULL;
        return;
    }
    if (!c->out_size) return;
    ssize_t sent = conn_send(c, c->out, c->out_size);
    if (sent > 0) memmove(c->out, c->out + sent, c->out_size -= sent);
    if (!c->out_size) c->want_write = false, conn_watch(c);
}

static void conn_event(Conn *c, uint32_t events) {
    if (c->state == CLOSED) return;
    if (events & EPOLLOUT) conn_writable(c);
    if (c->state == CLOSED || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    do {
        if (c->in_room - c->in_size < 4096) c->in = realloc(c->in, c->in_room *= 2);
        ssize_t got = conn_recv(c, c->in + c->in_size, c->in_room - c->in_size);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            conn_drop(c);
            return;
        }
        c->in_size += got;
        if (c->state == SHAKING) shake_hands(c);
        if (c->state == OPEN) take_frames(c);
    } while (c->state != CLOSED && c->ssl && SSL_pending(c->ssl) > 0);
}
