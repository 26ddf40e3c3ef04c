/* The floor: the least that a process for every connection can cost.
 *
 * It does what the last server of "Let's Build A Web Server" does, in C and linked statically. It accepts
 * and forks. The child reads once, writes a fixed answer and calls _exit. The parent closes its copy and
 * reaps in a SIGCHLD handler. It parses nothing and keeps no record. Its answer has as many bytes as that
 * of the handler `respond` of lsbaws.
 *
 *     cc -O2 -static -o floor floor.c && ./floor 18880
 *
 * With a program as another argument, a child executes it, with the connection as standard input and output: the least
 * that an inetd can cost.
 *
 * At SIGTERM it prints the minor page faults per connection of its children on standard error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
                             "Content-Type: text/plain; charset=utf-8\r\n"
                             "Content-Length: 14\r\n"
                             "Connection: close\r\n"
                             "\r\n"
                             "Hello, World!\n";

static int listener;

static void reap(int signal)
{
    int saved = errno;
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    errno = saved;
}

/* Makes accept fail, whether it is under way or about to begin. */
static void stop(int signal)
{
    (void)signal;
    shutdown(listener, SHUT_RDWR);
}

static void fail(const char *what)
{
    perror(what);
    exit(71);
}

static void catch_signal(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    if (sigaction(signal, &action, NULL) < 0) {
        fail("sigaction");
    }
}

static void execute(char *program, int connection)
{
    char *arguments[] = {program, NULL};
    close(listener);
    if (dup2(connection, 0) < 0 || dup2(connection, 1) < 0 || close(connection) < 0) {
        _exit(71);
    }
    execv(program, arguments);
    _exit(72);
}

static void serve(int connection)
{
    char request[4096];
    if (read(connection, request, sizeof request) <= 0 ||
        write(connection, answer, sizeof answer - 1) != sizeof answer - 1) {
        _exit(1);
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    int port = argc == 2 || argc == 3 ? atoi(argv[1]) : 0;
    if (port <= 0 || port > 65535) {
        fprintf(stderr, "usage: floor PORT [PROGRAM]\n");
        return 64;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int one = 1;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        fail("listen");
    }
    catch_signal(SIGCHLD, reap);
    catch_signal(SIGTERM, stop);

    long connections = 0;
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) {
            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }
            if (errno == EINVAL) { /* SIGTERM */
                break;
            }
            fail("accept");
        }
        pid_t child = fork();
        if (child < 0) {
            fail("fork");
        }
        if (child == 0) {
            if (argc == 3) {
                execute(argv[2], connection);
            }
            serve(connection);
        }
        close(connection);
        connections++;
    }

    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
    }
    struct rusage usage;
    if (getrusage(RUSAGE_CHILDREN, &usage) < 0) {
        fail("getrusage");
    }
    if (connections > 0) {
        fprintf(stderr, "%.1f minor faults per connection, %ld connections\n",
                (double)usage.ru_minflt / (double)connections, connections);
    }
    return 0;
}
