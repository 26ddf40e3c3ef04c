/* The latency of new connections at a fixed rate.
 *
 * Each connection has a time at which it is due, whether those before it are answered or not: a server that stands still
 * for a while makes all that were due meanwhile late, and not only one. The latency of a connection is from the time at
 * which it was due to the last byte of its answer.
 *
 *     cc -O2 -o openloop openloop.c && ./openloop PORT RATE SECONDS
 *
 * RATE is connections per second. Prints the 50th, 99th and 99.9th percentile in microseconds, and how many failed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/* A connection under way, by its descriptor. */
struct exchange {
    int64_t due; /* nanoseconds */
    int sent, received;
};

#define DESCRIPTORS 65536
static struct exchange exchanges[DESCRIPTORS];

static void fail(const char *what)
{
    perror(what);
    exit(71);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Begins an exchange. False: it failed at once. */
static int begin(int events, const struct sockaddr_in *address, int64_t due)
{
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client < 0 || client >= DESCRIPTORS) {
        fail("socket");
    }
    if (connect(client, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS) {
        close(client);
        return 0;
    }
    exchanges[client] = (struct exchange){.due = due};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = client};
    if (epoll_ctl(events, EPOLL_CTL_ADD, client, &event) < 0) {
        fail("epoll_ctl");
    }
    return 1;
}

/* Moves an exchange on. 0: it is under way; 1: it has its answer; -1: it failed. */
static int advance(int client)
{
    struct exchange *exchange = &exchanges[client];
    char buffer[4096];
    if (!exchange->sent) {
        if (send(client, request, sizeof request - 1, MSG_NOSIGNAL) < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        exchange->sent = 1;
    }
    for (;;) {
        ssize_t count = recv(client, buffer, sizeof buffer, 0);
        if (count > 0) {
            exchange->received = 1;
        } else if (count == 0) {
            return exchange->received ? 1 : -1;
        } else {
            return errno == EAGAIN ? 0 : -1;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: openloop PORT RATE SECONDS\n");
        return 64;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)atoi(argv[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    double rate = atof(argv[2]);
    long count = (long)(rate * atof(argv[3]));
    int64_t *latencies = calloc((size_t)count + 1, sizeof *latencies);
    int events = epoll_create1(0);
    if (count < 1 || latencies == NULL || events < 0) {
        fail("start");
    }
    long begun = 0, answered = 0, failed = 0;
    int64_t start = now(), last = start + (int64_t)(count / rate * 1e9) + 10000000000LL;
    while (answered + failed < count && now() < last) {
        int64_t due;
        while (begun < count && (due = start + (int64_t)(begun / rate * 1e9)) <= now()) {
            failed += !begin(events, &address, due);
            begun++;
        }
        struct epoll_event ready[64];
        int64_t wait = begun < count ? start + (int64_t)(begun / rate * 1e9) - now() : 100000000;
        struct timespec timeout = {.tv_nsec = wait < 0 ? 0 : wait > 100000000 ? 100000000 : wait};
        int found = epoll_pwait2(events, ready, 64, &timeout, NULL);
        for (int i = 0; i < found; i++) {
            int client = ready[i].data.fd, end = advance(client);
            if (end == 1) {
                latencies[answered++] = now() - exchanges[client].due;
            }
            failed += end == -1;
            if (end != 0) {
                close(client);
            }
        }
    }
    qsort(latencies, (size_t)answered, sizeof *latencies, compare);
    double shares[] = {0.5, 0.99, 0.999};
    for (int i = 0; i < 3 && answered > 0; i++) {
        printf("%ld ", (long)(latencies[(long)((double)(answered - 1) * shares[i])] / 1000));
    }
    printf("%ld\n", failed + (count - answered - failed));
    return 0;
}
