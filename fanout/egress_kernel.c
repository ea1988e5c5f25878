/* The fast form of the egress: RTP headers, SRTP and the send of whole runs, without the GIL.
 *
 * Same classes, results and errors as egress_python.py, which documents them; tests hold the two together
 * octet for octet. Built as fanout._egress over OpenSSL's libcrypto.
 *
 * A send works on lanes, their logs and the egress while other Python threads run, so one mutex guards them
 * all. Whoever holds it neither runs Python code nor waits for the GIL. Payloads are octets inside immutable
 * tuples that the call holds.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define MAX_PAYLOAD 1500
#define MAX_HEADER (12 + 20) /* RTP; transport sequence, capture time, playout delay */
#define MAX_TAG 16
#define MAX_PACKET (MAX_HEADER + MAX_PAYLOAD + MAX_TAG)
#define MAX_RUN 64 /* UDP_MAX_SEGMENTS of Linux before 6.9 */
#define LOG_RUNS 512
#define MOST_DELAY 50u /* of the playout delay, in 10 ms */
#define INDEX_END (UINT64_C(1) << 48)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void put16(uint8_t *at, uint64_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint64_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* ---- SRTP profiles ---------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    const char *cipher_name;
    Py_ssize_t key, salt, authentication_key;
    unsigned tag;
    unsigned index_at; /* where the IV has the packet index; the SSRC stands in front of it */
    unsigned iv;
    EVP_CIPHER *cipher;
} Profile;

static Profile profiles[] = {
    {"SRTP_AEAD_AES_128_GCM", "AES-128-GCM", 16, 12, 0, 16, 6, 12, NULL},  /* RFC 7714 section 8.1 */
    {"SRTP_AEAD_AES_256_GCM", "AES-256-GCM", 32, 12, 0, 16, 6, 12, NULL},
    {"SRTP_AES128_CM_SHA1_80", "AES-128-CTR", 16, 14, 20, 10, 8, 16, NULL}, /* RFC 3711 section 4.1.1 */
};
#define PROFILES (sizeof profiles / sizeof profiles[0])

static EVP_MAC *hmac;

/* ---- Arguments -------------------------------------------------------------------------------------- */

static int whole(const char *name, PyObject *value, uint64_t maximum, uint64_t *result)
{
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be int, not %s", name, Py_TYPE(value)->tp_name);
        return 0;
    }
    unsigned long long number = PyLong_AsUnsignedLongLong(value);
    int failed = number == (unsigned long long)-1 && PyErr_Occurred() != NULL;
    if (failed)
        PyErr_Clear();
    if (failed || number > maximum) {
        PyErr_Format(PyExc_ValueError, "%s must be 0 to %llu", name, (unsigned long long)maximum);
        return 0;
    }
    *result = number;
    return 1;
}

/* Any whole number, modulo 2**32. */
static int modulo32(const char *name, PyObject *value, uint32_t *result)
{
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be int, not %s", name, Py_TYPE(value)->tp_name);
        return 0;
    }
    unsigned long number = PyLong_AsUnsignedLongMask(value);
    *result = (uint32_t)number;
    return !(number == (unsigned long)-1 && PyErr_Occurred());
}

/* A new reference to an attribute; what has none is not a `kind`, so TypeError. */
static PyObject *attribute(PyObject *object, const char *name, const char *kind)
{
    PyObject *value = PyObject_GetAttrString(object, name);
    if (!value && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Format(PyExc_TypeError, "%s expected, not %s", kind, Py_TYPE(object)->tp_name);
    return value;
}

static int attribute_whole(PyObject *object, const char *name, const char *kind, uint64_t maximum,
                           uint64_t *result)
{
    PyObject *value = attribute(object, name, kind);
    int good = value && whole(name, value, maximum, result);
    Py_XDECREF(value);
    return good;
}

typedef struct {
    const uint8_t *octets;
    size_t size;
} Payload;

static int payload(PyObject *object, Payload *result)
{
    if (!PyBytes_Check(object)) {
        PyErr_Format(PyExc_TypeError, "payload must be bytes, not %s", Py_TYPE(object)->tp_name);
        return 0;
    }
    result->octets = (const uint8_t *)PyBytes_AS_STRING(object);
    result->size = (size_t)PyBytes_GET_SIZE(object);
    if (result->size > MAX_PAYLOAD) {
        PyErr_Format(PyExc_ValueError, "a payload has at most %d octets, not %zu", MAX_PAYLOAD, result->size);
        return 0;
    }
    return 1;
}

typedef struct {
    Payload *payloads; /* of all runs */
    Py_ssize_t packets;
    Py_ssize_t *counts;
    Py_ssize_t runs;
} Runs;

static void runs_free(Runs *runs)
{
    PyMem_Free(runs->payloads);
    PyMem_Free(runs->counts);
}

static int runs_parse(PyObject *object, Runs *runs)
{
    memset(runs, 0, sizeof *runs);
    if (!PyTuple_Check(object)) {
        PyErr_Format(PyExc_TypeError, "runs must be tuple, not %s", Py_TYPE(object)->tp_name);
        return 0;
    }
    runs->runs = PyTuple_GET_SIZE(object);
    runs->counts = PyMem_New(Py_ssize_t, runs->runs + 1);
    Py_ssize_t room = 0;
    for (Py_ssize_t at = 0; at < runs->runs; at++) {
        PyObject *run = PyTuple_GET_ITEM(object, at);
        room += PyTuple_Check(run) ? PyTuple_GET_SIZE(run) : 0;
    }
    runs->payloads = PyMem_New(Payload, room + 1);
    if (!runs->counts || !runs->payloads) {
        PyErr_NoMemory();
        goto failed;
    }
    for (Py_ssize_t at = 0; at < runs->runs; at++) {
        PyObject *run = PyTuple_GET_ITEM(object, at);
        if (!PyTuple_Check(run)) {
            PyErr_Format(PyExc_TypeError, "run must be tuple, not %s", Py_TYPE(run)->tp_name);
            goto failed;
        }
        Py_ssize_t count = runs->counts[at] = PyTuple_GET_SIZE(run);
        if (count < 1 || count > MAX_RUN) {
            PyErr_Format(PyExc_ValueError, "a run has 1 to %d payloads, not %zd", MAX_RUN, count);
            goto failed;
        }
        Payload *payloads = runs->payloads + runs->packets;
        runs->packets += count;
        int equal = 1;
        for (Py_ssize_t n = 0; n < count; n++) {
            if (!payload(PyTuple_GET_ITEM(run, n), &payloads[n]))
                goto failed;
            if (n < count - 1 ? payloads[n].size != payloads[0].size : payloads[n].size > payloads[0].size)
                equal = 0;
        }
        if (!equal) {
            PyErr_SetString(PyExc_ValueError,
                            "the payloads of a run have one size; only the last may be smaller");
            goto failed;
        }
    }
    return 1;
failed:
    runs_free(runs);
    return 0;
}

/* Family and octets of an address without port, brackets and scope; 0 and an exception for others. */
static int address(PyObject *text, uint8_t octets[16])
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "address must be str, not %s", Py_TYPE(text)->tp_name);
        return 0;
    }
    Py_ssize_t size;
    const char *characters = PyUnicode_AsUTF8AndSize(text, &size);
    if (!characters)
        PyErr_Clear();
    if (characters && strlen(characters) == (size_t)size) {
        if (inet_pton(AF_INET, characters, octets) == 1)
            return AF_INET;
        if (inet_pton(AF_INET6, characters, octets) == 1)
            return AF_INET6;
    }
    PyErr_SetString(PyExc_ValueError, "not an IPv4 or IPv6 address");
    return 0;
}

/* ---- TransportLog ----------------------------------------------------------------------------------- */

/* 16 octets, because a viewer shall cost little memory: what is cut off is found again from the newest. */
typedef struct {
    uint64_t left; /* 48 bits of the time in ns, 16 of the sequence number behind the run */
    uint64_t what; /* 32 bits of the octets behind it, 12 of a packet's size, 12 of the last's, 8: number - 1 */
} LoggedRun;

typedef struct {
    PyObject_HEAD
    uint64_t sequence;
    uint64_t octets;
    uint64_t runs;
    uint64_t newest_ns;
    LoggedRun ring[LOG_RUNS];
} TransportLog;

static void log_run(TransportLog *log, int numbered, size_t count, size_t size, size_t last_size)
{
    log->octets += size * (count - 1) + last_size;
    if (!numbered)
        return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    log->sequence += count;
    log->newest_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    LoggedRun *run = &log->ring[log->runs++ % LOG_RUNS];
    run->left = log->newest_ns << 16 | (log->sequence & 0xFFFF);
    run->what = log->octets << 32 | size << 20 | last_size << 8 | (count - 1);
}

static const LoggedRun *logged(const TransportLog *log, uint64_t back)
{
    return &log->ring[(log->runs - 1 - back) % LOG_RUNS];
}

/* Packets numbered after a run; runs are counted from the newest. */
static unsigned log_end(const TransportLog *log, uint64_t run)
{
    return (uint16_t)(log->sequence - logged(log, run)->left);
}

static int log_find(const TransportLog *log, uint64_t sequence, uint64_t *left_ns, uint64_t *octets)
{
    unsigned back = (uint16_t)(log->sequence - 1 - sequence);
    uint64_t low = 0, high = log->runs < LOG_RUNS ? log->runs : LOG_RUNS;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (log_end(log, middle) <= back)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return 0;
    const LoggedRun *run = logged(log, low - 1);
    unsigned behind = back - log_end(log, low - 1);
    if (behind > (run->what & 0xFF))
        return 0;
    *octets = log->octets - (uint32_t)(log->octets - (run->what >> 32));
    if (behind)
        *octets -= (run->what >> 8 & 0xFFF) + (behind - 1) * (run->what >> 20 & 0xFFF);
    *left_ns = log->newest_ns - ((log->newest_ns - (run->left >> 16)) & (INDEX_END - 1));
    return 1;
}

static PyObject *TransportLog_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":TransportLog", names))
        return NULL;
    return type->tp_alloc(type, 0);
}

static void plain_dealloc(PyObject *self)
{
    Py_TYPE(self)->tp_free(self);
}

static PyObject *TransportLog_sent(TransportLog *self, PyObject *argument)
{
    uint64_t sequence, left_ns, octets;
    if (!whole("sequence", argument, 0xFFFF, &sequence))
        return NULL;
    pthread_mutex_lock(&lock);
    int found = log_find(self, sequence, &left_ns, &octets);
    pthread_mutex_unlock(&lock);
    if (!found)
        Py_RETURN_NONE;
    return Py_BuildValue("KK", (unsigned long long)left_ns, (unsigned long long)octets);
}

static PyMemberDef TransportLog_members[] = {
    {"sequence", T_ULONGLONG, offsetof(TransportLog, sequence), READONLY, NULL},
    {"octets", T_ULONGLONG, offsetof(TransportLog, octets), READONLY, NULL},
    {NULL},
};
static PyMethodDef TransportLog_methods[] = {
    {"sent", (PyCFunction)TransportLog_sent, METH_O, NULL},
    {NULL},
};
static PyTypeObject TransportLog_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fanout._egress.TransportLog",
    .tp_basicsize = sizeof(TransportLog),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = TransportLog_new,
    .tp_dealloc = plain_dealloc,
    .tp_members = TransportLog_members,
    .tp_methods = TransportLog_methods,
};

/* ---- Lane ------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    TransportLog *log;
    const Profile *profile;
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *mac; /* NULL: AES-GCM */
    uint64_t index;
    uint64_t repeatable; /* first index that has the present payload type and offset */
    uint64_t packets;
    uint64_t octets;
    uint32_t ssrc;
    uint32_t timestamp_offset;
    uint8_t payload_type;
    uint8_t transport_sequence, capture_time, playout_delay; /* ids, 0: not negotiated */
    char sparse; /* only packets with a capture time are numbered */
    uint8_t least_delay; /* of the playout delay, in 10 ms */
    uint8_t iv[16];                                          /* of index 0 */
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } host; /* family 0: not aimed yet */
    uint8_t local[16];
    uint8_t has_local;
} Lane;

static PyTypeObject Lane_type;

typedef struct {
    uint8_t octets[MAX_HEADER];
    unsigned size;
    unsigned transport_at; /* 0: none */
} Header;

static int is_numbered(const Lane *lane, uint64_t capture_ntp)
{
    return lane->transport_sequence && (!lane->sparse || capture_ntp);
}

/* What the packets of a call have in common. */
static void header_make(const Lane *lane, uint32_t timestamp, uint64_t capture_ntp, Header *header)
{
    uint8_t *octets = header->octets;
    unsigned size = 16;
    octets[0] = 0x80;
    octets[1] = lane->payload_type;
    put16(octets + 2, 0);
    put32(octets + 4, timestamp + lane->timestamp_offset);
    put32(octets + 8, lane->ssrc);
    header->transport_at = 0;
    if (is_numbered(lane, capture_ntp)) {
        octets[size] = (uint8_t)(lane->transport_sequence << 4 | 1);
        header->transport_at = size + 1;
        size += 3;
    }
    if (capture_ntp && lane->capture_time) {
        octets[size] = (uint8_t)(lane->capture_time << 4 | 7);
        put32(octets + size + 1, capture_ntp >> 32);
        put32(octets + size + 5, capture_ntp);
        size += 9;
    }
    if (capture_ntp && lane->playout_delay) {
        octets[size] = (uint8_t)(lane->playout_delay << 4 | 2);
        uint32_t delay = (uint32_t)lane->least_delay << 12 | MOST_DELAY;
        octets[size + 1] = (uint8_t)(delay >> 16);
        put16(octets + size + 2, delay);
        size += 4;
    }
    if (size == 16) {
        header->size = 12;
        return;
    }
    while (size % 4)
        octets[size++] = 0;
    octets[0] |= 0x10;
    put16(octets + 12, 0xBEDE); /* RFC 8285 section 4.2 */
    put16(octets + 14, (size - 16) / 4);
    header->size = size;
}

static unsigned header_size(const Lane *lane, uint64_t capture_ntp)
{
    Header header;
    header_make(lane, 0, capture_ntp, &header);
    return header.size;
}

/* One SRTP packet to `out`, which has room for header, payload and tag; 0: OpenSSL failed. */
static int seal(Lane *lane, const Header *header, uint64_t index, uint64_t transport, int marker,
                const Payload *plain, uint8_t *out)
{
    const Profile *profile = lane->profile;
    uint8_t *body = out + header->size;
    uint8_t *tag = body + plain->size;
    int size = (int)plain->size, written;

    memcpy(out, header->octets, header->size);
    put16(out + 2, index);
    if (header->transport_at)
        put16(out + header->transport_at, transport);
    if (marker)
        out[1] |= 0x80;

    uint8_t iv[16], *indexed = iv + profile->index_at;
    memcpy(iv, lane->iv, sizeof iv);
    for (int at = 0; at < 6; at++)
        indexed[at] ^= (uint8_t)(index >> (40 - 8 * at));
    if (!EVP_EncryptInit_ex(lane->cipher, NULL, NULL, NULL, iv))
        return 0;
    if (!lane->mac) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, profile->tag),
            OSSL_PARAM_construct_end(),
        };
        return EVP_EncryptUpdate(lane->cipher, NULL, &written, out, (int)header->size) &&
               (!size || EVP_EncryptUpdate(lane->cipher, body, &written, plain->octets, size)) &&
               EVP_EncryptFinal_ex(lane->cipher, tag, &written) &&
               EVP_CIPHER_CTX_get_params(lane->cipher, params);
    }
    /* The rollover counter is authenticated and not sent (RFC 3711 section 4.2). */
    uint8_t rollover[4], digest[20];
    size_t digest_size;
    put32(rollover, index >> 16);
    if ((size && !EVP_EncryptUpdate(lane->cipher, body, &written, plain->octets, size)) ||
        !EVP_MAC_init(lane->mac, NULL, 0, NULL) || /* the same key once more */
        !EVP_MAC_update(lane->mac, out, header->size + plain->size) ||
        !EVP_MAC_update(lane->mac, rollover, sizeof rollover) ||
        !EVP_MAC_final(lane->mac, digest, &digest_size, sizeof digest))
        return 0;
    memcpy(tag, digest, profile->tag);
    return 1;
}

static int lane_keys(Lane *self, PyObject *keys)
{
    PyObject *name = attribute(keys, "profile", "SessionKeys");
    PyObject *cipher_key = name ? attribute(keys, "cipher_key", "SessionKeys") : NULL;
    PyObject *salt = cipher_key ? attribute(keys, "salt", "SessionKeys") : NULL;
    PyObject *authentication_key = salt ? attribute(keys, "authentication_key", "SessionKeys") : NULL;
    int good = 0;
    if (!authentication_key)
        goto out;
    if (!PyUnicode_Check(name) || !PyBytes_Check(cipher_key) || !PyBytes_Check(salt) ||
        !PyBytes_Check(authentication_key)) {
        PyErr_SetString(PyExc_TypeError, "the profile must be str and its keys bytes");
        goto out;
    }
    for (size_t at = 0; at < PROFILES; at++) {
        const Profile *profile = &profiles[at];
        if (PyUnicode_CompareWithASCIIString(name, profile->name) == 0 &&
            PyBytes_GET_SIZE(cipher_key) == profile->key && PyBytes_GET_SIZE(salt) == profile->salt &&
            PyBytes_GET_SIZE(authentication_key) == profile->authentication_key)
            self->profile = profile;
    }
    if (!self->profile) {
        PyErr_Format(PyExc_ValueError, "%U does not have keys of these lengths", name);
        goto out;
    }
    memcpy(self->iv, PyBytes_AS_STRING(salt), (size_t)PyBytes_GET_SIZE(salt));
    uint8_t ssrc[4];
    put32(ssrc, self->ssrc);
    for (int at = 0; at < 4; at++)
        self->iv[self->profile->index_at - 4 + (unsigned)at] ^= ssrc[at];

    self->cipher = EVP_CIPHER_CTX_new();
    if (!self->cipher ||
        !EVP_EncryptInit_ex(self->cipher, self->profile->cipher, NULL,
                            (const unsigned char *)PyBytes_AS_STRING(cipher_key), NULL))
        goto out;
    if (self->profile->authentication_key) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA1", 0),
            OSSL_PARAM_construct_end(),
        };
        self->mac = EVP_MAC_CTX_new(hmac);
        if (!self->mac ||
            !EVP_MAC_init(self->mac, (const unsigned char *)PyBytes_AS_STRING(authentication_key),
                          (size_t)PyBytes_GET_SIZE(authentication_key), params))
            goto out;
    }
    good = 1;
out:
    if (!good && !PyErr_Occurred())
        PyErr_NoMemory();
    Py_XDECREF(name);
    Py_XDECREF(cipher_key);
    Py_XDECREF(salt);
    Py_XDECREF(authentication_key);
    return good;
}

static PyObject *Lane_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"keys", "ssrc", "payload_type", "index", "timestamp_offset", "extensions", "log", NULL};
    PyObject *keys, *ssrc, *payload_type, *index, *timestamp_offset, *extensions;
    TransportLog *log;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOOO!:Lane", names, &keys, &ssrc, &payload_type, &index,
                                     &timestamp_offset, &extensions, &TransportLog_type, &log))
        return NULL;
    Lane *self = (Lane *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    uint64_t number, type_number, ids[3];
    if (!whole("ssrc", ssrc, 0xFFFFFFFF, &number) || !whole("payload_type", payload_type, 127, &type_number) ||
        !whole("index", index, INDEX_END, &self->index) ||
        !modulo32("timestamp_offset", timestamp_offset, &self->timestamp_offset) ||
        !attribute_whole(extensions, "transport_sequence", "Extensions", 14, &ids[0]) ||
        !attribute_whole(extensions, "capture_time", "Extensions", 14, &ids[1]) ||
        !attribute_whole(extensions, "playout_delay", "Extensions", 14, &ids[2]))
        goto failed;
    self->ssrc = (uint32_t)number;
    self->payload_type = (uint8_t)type_number;
    self->repeatable = self->index;
    self->transport_sequence = (uint8_t)ids[0];
    self->capture_time = (uint8_t)ids[1];
    self->playout_delay = (uint8_t)ids[2];
    if (!lane_keys(self, keys))
        goto failed;
    Py_INCREF(log);
    self->log = log;
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static void Lane_dealloc(Lane *self)
{
    EVP_CIPHER_CTX_free(self->cipher);
    EVP_MAC_CTX_free(self->mac);
    Py_XDECREF(self->log);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *Lane_aim(Lane *self, PyObject *destination)
{
    PyObject *host = attribute(destination, "host", "Destination");
    PyObject *local = host ? attribute(destination, "local", "Destination") : NULL;
    uint64_t port;
    uint8_t host_octets[16], local_octets[16];
    int family, local_family = 0;
    int good = 0;
    if (!local || !(family = address(host, host_octets)) ||
        !attribute_whole(destination, "port", "Destination", 0xFFFF, &port))
        goto out;
    if (!PyUnicode_Check(local) || PyUnicode_GET_LENGTH(local)) {
        if (!(local_family = address(local, local_octets)))
            goto out;
        if (local_family != family) {
            PyErr_SetString(PyExc_ValueError, "host and local are of two families");
            goto out;
        }
    }
    good = 1;
    pthread_mutex_lock(&lock);
    memset(&self->host, 0, sizeof self->host);
    self->host.any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        self->host.ipv4.sin_port = htons((uint16_t)port);
        memcpy(&self->host.ipv4.sin_addr, host_octets, 4);
    } else {
        self->host.ipv6.sin6_port = htons((uint16_t)port);
        memcpy(&self->host.ipv6.sin6_addr, host_octets, 16);
    }
    self->has_local = local_family != 0;
    if (self->has_local)
        memcpy(self->local, local_octets, family == AF_INET ? 4 : 16);
    pthread_mutex_unlock(&lock);
out:
    Py_XDECREF(host);
    Py_XDECREF(local);
    if (!good)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *used_up(uint32_t ssrc)
{
    return PyErr_Format(PyExc_OverflowError, "the packet index of SSRC %lu is used up", (unsigned long)ssrc);
}

static PyObject *openssl_failed(void)
{
    PyErr_SetString(PyExc_RuntimeError, "OpenSSL could not protect a packet");
    return NULL;
}

static PyObject *Lane_protect(Lane *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"payloads", "timestamp", "marker", "capture_ntp", NULL};
    PyObject *sequence, *timestamp_object, *capture_object, *result = NULL;
    int marker, good = 1, room;
    uint32_t timestamp;
    uint64_t capture_ntp;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOpO:protect", names, &sequence, &timestamp_object, &marker,
                                     &capture_object))
        return NULL;
    /* A tuple of our own: a list could change while this runs. */
    PyObject *plain = PySequence_Tuple(sequence);
    if (!plain)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(plain);
    Payload *payloads = PyMem_New(Payload, count + 1);
    if (!payloads) {
        PyErr_NoMemory();
        goto out;
    }
    for (Py_ssize_t at = 0; at < count; at++)
        if (!payload(PyTuple_GET_ITEM(plain, at), &payloads[at]))
            goto out;
    if (!modulo32("timestamp", timestamp_object, &timestamp) ||
        !whole("capture_ntp", capture_object, UINT64_MAX, &capture_ntp) || !(result = PyList_New(count)))
        goto out;
    size_t around = header_size(self, capture_ntp) + self->profile->tag;
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *packet = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(around + payloads[at].size));
        if (!packet) {
            Py_CLEAR(result);
            goto out;
        }
        PyList_SET_ITEM(result, at, packet);
    }

    pthread_mutex_lock(&lock);
    room = self->index + (uint64_t)count <= INDEX_END;
    if (room) {
        Header header;
        header_make(self, timestamp, capture_ntp, &header);
        uint64_t transport = self->log->sequence;
        for (Py_ssize_t at = 0; good && at < count; at++) {
            uint8_t *out = (uint8_t *)PyBytes_AS_STRING(PyList_GET_ITEM(result, at));
            good = seal(self, &header, self->index++, transport++, marker && at == count - 1, &payloads[at], out);
        }
    }
    for (Py_ssize_t first = 0, at = 1; room && good && first < count; at++) {
        size_t size = payloads[first].size, last = payloads[at - 1].size;
        self->octets += last;
        if (at == count || payloads[at].size > size || last < size || at - first == MAX_RUN) {
            log_run(self->log, is_numbered(self, capture_ntp), (size_t)(at - first), around + size, around + last);
            first = at;
        }
    }
    if (room && good)
        self->packets += (uint64_t)count;
    pthread_mutex_unlock(&lock);

    if (!room || !good) {
        Py_CLEAR(result);
        room ? openssl_failed() : used_up(self->ssrc);
    }
out:
    PyMem_Free(payloads);
    Py_DECREF(plain);
    return result;
}

static PyObject *Lane_repeat(Lane *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"payload", "index", "timestamp", "marker", "capture_ntp", NULL};
    PyObject *payload_object, *index_object, *timestamp_object, *capture_object;
    int marker;
    Payload plain;
    uint32_t timestamp;
    uint64_t index, capture_ntp;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOpO:repeat", names, &payload_object, &index_object,
                                     &timestamp_object, &marker, &capture_object) ||
        !payload(payload_object, &plain) || !modulo32("timestamp", timestamp_object, &timestamp) ||
        !whole("capture_ntp", capture_object, UINT64_MAX, &capture_ntp) ||
        !whole("index", index_object, INDEX_END, &index))
        return NULL;
    if (self->transport_sequence) {
        PyErr_SetString(PyExc_ValueError, "packets with transport-wide sequence numbers are not repeated");
        return NULL;
    }
    size_t size = header_size(self, capture_ntp) + plain.size + self->profile->tag;
    PyObject *packet = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!packet)
        return NULL;
    int good = 1;
    pthread_mutex_lock(&lock);
    int known = self->repeatable <= index && index < self->index;
    if (known) {
        Header header;
        header_make(self, timestamp, capture_ntp, &header);
        good = seal(self, &header, index, 0, marker, &plain, (uint8_t *)PyBytes_AS_STRING(packet));
    }
    pthread_mutex_unlock(&lock);
    if (known && good)
        return packet;
    Py_DECREF(packet);
    if (!good)
        return openssl_failed();
    PyErr_SetString(PyExc_ValueError, "no packet with this header has this index");
    return NULL;
}

static PyObject *Lane_get_payload_type(Lane *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(self->payload_type);
}

static PyObject *Lane_get_least_delay(Lane *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(self->least_delay);
}

static PyObject *Lane_get_timestamp_offset(Lane *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(self->timestamp_offset);
}

static int cannot_delete(PyObject *value)
{
    if (!value)
        PyErr_SetString(PyExc_AttributeError, "cannot be deleted");
    return !value;
}

static int Lane_set_payload_type(Lane *self, PyObject *value, void *Py_UNUSED(closure))
{
    uint64_t number;
    if (cannot_delete(value) || !whole("payload_type", value, 127, &number))
        return -1;
    pthread_mutex_lock(&lock);
    if (number != self->payload_type) {
        self->payload_type = (uint8_t)number;
        self->repeatable = self->index;
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static int Lane_set_least_delay(Lane *self, PyObject *value, void *Py_UNUSED(closure))
{
    uint64_t number;
    if (cannot_delete(value) || !whole("least_delay", value, MOST_DELAY, &number))
        return -1;
    pthread_mutex_lock(&lock);
    if (number != self->least_delay) {
        self->least_delay = (uint8_t)number;
        self->repeatable = self->index;
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static int Lane_set_timestamp_offset(Lane *self, PyObject *value, void *Py_UNUSED(closure))
{
    uint32_t number;
    if (cannot_delete(value) || !modulo32("timestamp_offset", value, &number))
        return -1;
    pthread_mutex_lock(&lock);
    if (number != self->timestamp_offset) {
        self->timestamp_offset = number;
        self->repeatable = self->index;
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static PyMemberDef Lane_members[] = {
    {"ssrc", T_UINT, offsetof(Lane, ssrc), READONLY, NULL},
    {"index", T_ULONGLONG, offsetof(Lane, index), READONLY, NULL},
    {"sparse", T_BOOL, offsetof(Lane, sparse), 0, NULL},
    {"packets", T_ULONGLONG, offsetof(Lane, packets), READONLY, NULL},
    {"octets", T_ULONGLONG, offsetof(Lane, octets), READONLY, NULL},
    {NULL},
};
static PyGetSetDef Lane_properties[] = {
    {"payload_type", (getter)Lane_get_payload_type, (setter)Lane_set_payload_type, NULL, NULL},
    {"least_delay", (getter)Lane_get_least_delay, (setter)Lane_set_least_delay, NULL, NULL},
    {"timestamp_offset", (getter)Lane_get_timestamp_offset, (setter)Lane_set_timestamp_offset, NULL, NULL},
    {NULL},
};
static PyMethodDef Lane_methods[] = {
    {"aim", (PyCFunction)Lane_aim, METH_O, NULL},
    {"protect", (PyCFunction)(void (*)(void))Lane_protect, METH_VARARGS | METH_KEYWORDS, NULL},
    {"repeat", (PyCFunction)(void (*)(void))Lane_repeat, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL},
};
static PyTypeObject Lane_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fanout._egress.Lane",
    .tp_basicsize = sizeof(Lane),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Lane_new,
    .tp_dealloc = (destructor)Lane_dealloc,
    .tp_members = Lane_members,
    .tp_getset = Lane_properties,
    .tp_methods = Lane_methods,
};

/* ---- Egress ----------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int ipv4_fd, ipv6_fd;
    int gso;
    uint64_t packets;
    uint64_t refused;
    uint8_t run[MAX_RUN * MAX_PACKET];
} Egress;

static PyObject *Egress_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"ipv4_fd", "ipv6_fd", "gso", NULL};
    int ipv4_fd, ipv6_fd, gso;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iip:Egress", names, &ipv4_fd, &ipv6_fd, &gso))
        return NULL;
    int fds[] = {ipv4_fd, ipv6_fd};
    for (int at = 0; at < 2; at++) {
        struct sockaddr_storage own;
        socklen_t size = sizeof own;
        if (fds[at] >= 0 && getsockname(fds[at], (struct sockaddr *)&own, &size) != 0)
            return PyErr_SetFromErrno(PyExc_OSError);
    }
    Egress *self = (Egress *)type->tp_alloc(type, 0);
    if (self) {
        self->ipv4_fd = ipv4_fd;
        self->ipv6_fd = ipv6_fd;
        self->gso = gso;
    }
    return (PyObject *)self;
}

/* What a way out without segmentation offload answers; EMSGSIZE for a path MTU below the packets' size, and
 * for trains that are longer than an IP packet can be. */
static int refuses_trains(int error)
{
    return error == EIO || error == EINVAL || error == ENOPROTOOPT || error == EOPNOTSUPP || error == EMSGSIZE;
}

static void put_control(struct msghdr *message, size_t *used, int level, int type, const void *data, size_t size)
{
    struct cmsghdr *control = (struct cmsghdr *)((uint8_t *)message->msg_control + *used);
    control->cmsg_level = level;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(control), data, size);
    *used += CMSG_SPACE(size);
}

/* The packets of `run` that the kernel took; all but the last have `size` octets. */
static size_t transmit(Egress *egress, Lane *lane, int fd, size_t count, size_t size, size_t octets)
{
    union {
        struct cmsghdr header;
        uint8_t octets[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
    } control = {.octets = {0}};
    struct iovec data = {egress->run, octets};
    struct msghdr message = {
        .msg_name = &lane->host,
        .msg_namelen = lane->host.any.sa_family == AF_INET ? sizeof lane->host.ipv4 : sizeof lane->host.ipv6,
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = control.octets,
    };
    size_t used = 0;
    if (lane->has_local && lane->host.any.sa_family == AF_INET) {
        struct in_pktinfo local = {0};
        memcpy(&local.ipi_spec_dst, lane->local, 4);
        put_control(&message, &used, IPPROTO_IP, IP_PKTINFO, &local, sizeof local);
    } else if (lane->has_local) {
        struct in6_pktinfo local = {0};
        memcpy(&local.ipi6_addr, lane->local, 16);
        put_control(&message, &used, IPPROTO_IPV6, IPV6_PKTINFO, &local, sizeof local);
    }
    message.msg_controllen = used;
    if (egress->gso && count > 1) {
        uint16_t segment = (uint16_t)size;
        put_control(&message, &used, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
        size_t single = message.msg_controllen;
        message.msg_controllen = used;
        if (sendmsg(fd, &message, MSG_DONTWAIT) >= 0)
            return count;
        /* This way out, not the kernel, may be what cannot take a train. */
        if (!refuses_trains(errno))
            return 0;
        message.msg_controllen = single;
    }
    for (size_t at = 0; at < count; at++) {
        data.iov_base = egress->run + at * size;
        data.iov_len = at == count - 1 ? octets - at * size : size;
        if (sendmsg(fd, &message, MSG_DONTWAIT) < 0)
            return at;
    }
    return count;
}

/* 1: sent, 0: refused, -1: OpenSSL failed. */
static int send_run(Egress *egress, Lane *lane, const Payload *payloads, size_t count, uint32_t timestamp,
                    int marker, uint64_t capture_ntp)
{
    int family = lane->host.any.sa_family;
    int fd = family == AF_INET ? egress->ipv4_fd : family == AF_INET6 ? egress->ipv6_fd : -1;
    if (fd < 0 || lane->index + count > INDEX_END) {
        lane->index = lane->index + count > INDEX_END ? INDEX_END : lane->index + count;
        return 0;
    }
    Header header;
    header_make(lane, timestamp, capture_ntp, &header);
    TransportLog *log = lane->log;
    size_t around = header.size + lane->profile->tag;
    size_t size = around + payloads[0].size;
    for (size_t at = 0; at < count; at++)
        if (!seal(lane, &header, lane->index++, log->sequence + at, marker && at == count - 1, &payloads[at],
                  egress->run + at * size))
            return -1;
    size_t sent = transmit(egress, lane, fd, count, size, (count - 1) * size + around + payloads[count - 1].size);
    if (sent) {
        log_run(log, is_numbered(lane, capture_ntp), sent, size, around + payloads[sent - 1].size);
        lane->packets += sent;
        lane->octets += payloads[0].size * (sent - 1) + payloads[sent - 1].size;
        egress->packets += sent;
    }
    return sent == count;
}

typedef struct {
    Runs runs;
    uint32_t timestamp;
    int marker;
    uint64_t capture_ntp;
} Unit;

static int unit_parse(PyObject *runs, PyObject *timestamp, int marker, PyObject *capture_ntp, Unit *unit)
{
    unit->marker = marker;
    if (!runs_parse(runs, &unit->runs))
        return 0;
    if (modulo32("timestamp", timestamp, &unit->timestamp) &&
        whole("capture_ntp", capture_ntp, UINT64_MAX, &unit->capture_ntp))
        return 1;
    runs_free(&unit->runs);
    return 0;
}

static int send_unit(Egress *egress, Lane *lane, const Unit *unit)
{
    const Payload *payloads = unit->runs.payloads;
    for (Py_ssize_t at = 0; at < unit->runs.runs; at++) {
        size_t count = (size_t)unit->runs.counts[at];
        int marker = unit->marker && at == unit->runs.runs - 1;
        int taken = send_run(egress, lane, payloads, count, unit->timestamp, marker, unit->capture_ntp);
        if (taken != 1) {
            egress->refused += taken == 0;
            return taken;
        }
        payloads += count;
    }
    return 1;
}

/* Sends to all lanes without the GIL and marks who was refused; 0 and an exception: an index is used up (then
 * nothing was sent), or OpenSSL failed. */
static int send_all(Egress *egress, Lane **lanes, Py_ssize_t count, const Unit *unit, uint8_t *refused)
{
    uint64_t packets = (uint64_t)unit->runs.packets;
    const Lane *full = NULL;
    int failed = 0;
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&lock);
    for (Py_ssize_t at = 0; at < count && !full; at++)
        if (lanes[at]->index + packets > INDEX_END)
            full = lanes[at];
    for (Py_ssize_t at = 0; at < count && !full && !failed; at++) {
        int taken = send_unit(egress, lanes[at], unit);
        refused[at] = taken == 0;
        failed = taken < 0;
    }
    pthread_mutex_unlock(&lock);
    Py_END_ALLOW_THREADS
    if (full)
        used_up(full->ssrc);
    else if (failed)
        openssl_failed();
    return !full && !failed;
}

static PyObject *Egress_send(Egress *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"lane", "runs", "timestamp", "marker", "capture_ntp", NULL};
    Lane *lane;
    PyObject *runs, *timestamp, *capture_ntp;
    int marker;
    Unit unit;
    uint8_t refused;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!OOpO:send", names, &Lane_type, &lane, &runs, &timestamp,
                                     &marker, &capture_ntp) ||
        !unit_parse(runs, timestamp, marker, capture_ntp, &unit))
        return NULL;
    int good = send_all(self, &lane, 1, &unit, &refused);
    runs_free(&unit.runs);
    return good ? PyBool_FromLong(!refused) : NULL;
}

static PyObject *Egress_send_many(Egress *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"lanes", "runs", "timestamp", "marker", "capture_ntp", NULL};
    PyObject *sequence, *runs, *timestamp, *capture_ntp, *result = NULL;
    int marker;
    Unit unit;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOpO:send_many", names, &sequence, &runs, &timestamp, &marker,
                                     &capture_ntp))
        return NULL;
    /* A tuple of our own holds the lanes: a list could change while this runs. */
    PyObject *tuple = PySequence_Tuple(sequence);
    if (!tuple)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    Lane **lanes = PyMem_New(Lane *, count + 1);
    uint8_t *refused = PyMem_Malloc((size_t)count + 1);
    if (!lanes || !refused) {
        PyErr_NoMemory();
        goto out;
    }
    if (!unit_parse(runs, timestamp, marker, capture_ntp, &unit))
        goto out;
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *lane = PyTuple_GET_ITEM(tuple, at);
        if (!Py_IS_TYPE(lane, &Lane_type)) {
            PyErr_Format(PyExc_TypeError, "lane must be Lane, not %s", Py_TYPE(lane)->tp_name);
            goto parsed;
        }
        lanes[at] = (Lane *)lane;
    }
    if (!send_all(self, lanes, count, &unit, refused) || !(result = PyList_New(0)))
        goto parsed;
    for (Py_ssize_t at = 0; at < count; at++) {
        if (!refused[at])
            continue;
        PyObject *position = PyLong_FromSsize_t(at);
        if (!position || PyList_Append(result, position) < 0)
            Py_CLEAR(result);
        Py_XDECREF(position);
        if (!result)
            break;
    }
parsed:
    runs_free(&unit.runs);
out:
    PyMem_Free(lanes);
    PyMem_Free(refused);
    Py_DECREF(tuple);
    return result;
}

static PyMemberDef Egress_members[] = {
    {"packets", T_ULONGLONG, offsetof(Egress, packets), READONLY, NULL},
    {"refused", T_ULONGLONG, offsetof(Egress, refused), READONLY, NULL},
    {NULL},
};
static PyMethodDef Egress_methods[] = {
    {"send", (PyCFunction)(void (*)(void))Egress_send, METH_VARARGS | METH_KEYWORDS, NULL},
    {"send_many", (PyCFunction)(void (*)(void))Egress_send_many, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL},
};
static PyTypeObject Egress_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "fanout._egress.Egress",
    .tp_basicsize = sizeof(Egress),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Egress_new,
    .tp_dealloc = plain_dealloc,
    .tp_members = Egress_members,
    .tp_methods = Egress_methods,
};

/* ---- Module ----------------------------------------------------------------------------------------- */

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fanout._egress",
    .m_doc = "The fast form of the egress; egress_python.py documents it.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__egress(void)
{
    /* Fetched once: an implicit fetch costs each lane a search for the algorithm. */
    for (size_t at = 0; at < PROFILES; at++)
        if (!profiles[at].cipher && !(profiles[at].cipher = EVP_CIPHER_fetch(NULL, profiles[at].cipher_name, NULL)))
            return PyErr_Format(PyExc_ImportError, "OpenSSL has no %s", profiles[at].cipher_name);
    if (!hmac && !(hmac = EVP_MAC_fetch(NULL, "HMAC", NULL)))
        return PyErr_Format(PyExc_ImportError, "OpenSSL has no HMAC");
    PyObject *self = PyModule_Create(&module);
    if (self && PyModule_AddType(self, &TransportLog_type) == 0 && PyModule_AddType(self, &Lane_type) == 0 &&
        PyModule_AddType(self, &Egress_type) == 0)
        return self;
    Py_XDECREF(self);
    return NULL;
}
