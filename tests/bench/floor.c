/* The least that protecting and sending costs: AES-128-GCM by OpenSSL and one sendmsg with UDP_SEGMENT a run.

   `floor SHAPES SECONDS`, with a port of 127.0.0.1 per viewer on standard input. SHAPES has one line
   per access unit, 25 a second: the payload sizes of its packets, a comma between those of one run and a
   blank between runs. Prints packets sent, packets refused, and nanoseconds of CPU time. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { FRAMES_PER_S = 25, MAX_UNITS = 4096, MAX_RUNS = 256, MAX_RUN = 64, MAX_VIEWERS = 8192 };
enum { HEADER = 12, TAG = 16, EXTENSION = 8, MAX_PACKET = 1500 };

struct run { int count; int sizes[MAX_RUN]; };
struct unit { int count; struct run *runs; };
struct viewer { struct sockaddr_in address; EVP_CIPHER_CTX *cipher; unsigned long long index; };

static struct unit units[MAX_UNITS];
static struct viewer viewers[MAX_VIEWERS];
static unsigned char payload[MAX_PACKET], wire[MAX_RUN * MAX_PACKET];

static void fail(const char *what) { perror(what); exit(1); }

static int read_units(const char *path) {
    FILE *file = fopen(path, "r");
    static char line[1 << 16];
    int count = 0;
    if (!file) fail(path);
    while (count < MAX_UNITS && fgets(line, sizeof line, file)) {
        struct unit *unit = &units[count++];
        char *rest = line, *word;
        unit->runs = calloc(MAX_RUNS, sizeof *unit->runs);
        while ((word = strtok_r(rest, " \n", &rest)) && unit->count < MAX_RUNS) {
            struct run *run = &unit->runs[unit->count++];
            while (*word && run->count < MAX_RUN) {
                run->sizes[run->count++] = (int)strtol(word, &word, 10);
                if (*word) word++;
            }
        }
    }
    fclose(file);
    return count;
}

static int read_viewers(void) {
    static const unsigned char key[16] = "no secret at all";
    int count = 0, port;
    while (count < MAX_VIEWERS && scanf("%d", &port) == 1) {
        struct viewer *viewer = &viewers[count++];
        viewer->address.sin_family = AF_INET;
        viewer->address.sin_port = htons((unsigned short)port);
        viewer->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        viewer->cipher = EVP_CIPHER_CTX_new();
        if (EVP_EncryptInit_ex(viewer->cipher, EVP_aes_128_gcm(), NULL, key, NULL) != 1) exit(1);
    }
    return count;
}

static int protect(struct viewer *viewer, int size, unsigned timestamp, int marker, unsigned char *out) {
    unsigned char iv[12] = {0};
    int length;
    unsigned sequence = viewer->index & 0xFFFF, who = (unsigned)(viewer - viewers);
    const unsigned char extension[EXTENSION] = {0xBE, 0xDE, 0, 1, 0x41, (unsigned char)(sequence >> 8),
                                                (unsigned char)sequence, 0};
    out[0] = 0x90;
    out[1] = (unsigned char)(102 | marker << 7);
    out[2] = (unsigned char)(sequence >> 8);
    out[3] = (unsigned char)sequence;
    for (int i = 0; i < 4; i++) out[4 + i] = (unsigned char)(timestamp >> (24 - 8 * i));
    for (int i = 0; i < 4; i++) out[8 + i] = (unsigned char)(who >> (24 - 8 * i));
    memcpy(out + HEADER, extension, EXTENSION);
    for (int i = 0; i < 8; i++) iv[4 + i] = (unsigned char)(viewer->index >> (56 - 8 * i));
    viewer->index++;
    out += HEADER + EXTENSION;
    if (EVP_EncryptInit_ex(viewer->cipher, NULL, NULL, NULL, iv) != 1 ||
        EVP_EncryptUpdate(viewer->cipher, NULL, &length, out - HEADER - EXTENSION, HEADER + EXTENSION) != 1 ||
        EVP_EncryptUpdate(viewer->cipher, out, &length, payload, size) != 1 ||
        EVP_EncryptFinal_ex(viewer->cipher, out + size, &length) != 1 ||
        EVP_CIPHER_CTX_ctrl(viewer->cipher, EVP_CTRL_AEAD_GET_TAG, TAG, out + size) != 1)
        exit(1);
    return HEADER + EXTENSION + size + TAG;
}

static int send_run(int fd, struct viewer *viewer, const struct run *run, unsigned timestamp, int last) {
    char control[CMSG_SPACE(sizeof(unsigned short))] = {0};
    int length = 0, segment = 0;
    for (int i = 0; i < run->count; i++) {
        int size = protect(viewer, run->sizes[i], timestamp, last && i == run->count - 1, wire + length);
        if (!i) segment = size;
        length += size;
    }
    struct iovec vector = {wire, (size_t)length};
    struct msghdr message = {.msg_name = &viewer->address, .msg_namelen = sizeof viewer->address,
                             .msg_iov = &vector, .msg_iovlen = 1};
    if (run->count > 1) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof(unsigned short));
        *(unsigned short *)CMSG_DATA(header) = (unsigned short)segment;
    }
    return sendmsg(fd, &message, 0) == length;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int unit_count = read_units(argv[1]), viewer_count = read_viewers(), buffer = 4 << 20;
    long frames = (long)(atof(argv[2]) * FRAMES_PER_S);
    unsigned long long sent = 0, refused = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct timespec at;
    struct rusage usage;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer)) fail("socket");
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (unsigned char)(i * 7);
    clock_gettime(CLOCK_MONOTONIC, &at);
    getrusage(RUSAGE_SELF, &usage);
    double before = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    for (long frame = 0; frame < frames; frame++) {
        const struct unit *unit = &units[frame % unit_count];
        for (int v = 0; v < viewer_count; v++)
            for (int r = 0; r < unit->count; r++) {
                const struct run *run = &unit->runs[r];
                int taken = send_run(fd, &viewers[v], run, (unsigned)frame * 3600, r == unit->count - 1);
                *(taken ? &sent : &refused) += (unsigned long long)run->count;
            }
        at.tv_nsec += 1000000000 / FRAMES_PER_S;
        if (at.tv_nsec >= 1000000000) { at.tv_nsec -= 1000000000; at.tv_sec++; }
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
    }
    getrusage(RUSAGE_SELF, &usage);
    double after = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("%llu %llu %.0f\n", sent, refused, (after - before) * 1e9);
    return 0;
}
