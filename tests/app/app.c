/* The application of tests that run us as a user does: each word of its command line is one thing to do, in order. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

static void flood(long mib)
{
    static char block[1 << 16];
    memset(block, 'x', sizeof block);
    for (size_t at = 63; at < sizeof block; at += 64)
        block[at] = '\n';
    for (long blocks = mib * 16; blocks > 0; blocks--)
        if (write(1, block, sizeof block) < 0)
            exit(98);
}

static int status_of_term;

static void leave(int number)
{
    (void)number;
    _exit(status_of_term);
}

/* Answer every request on port 80 with this status: on all addresses of IPv4, or of both. */
static void serve(int status, int family)
{
    struct sockaddr_in6 address = {.sin6_family = family, .sin6_port = htons(80)};  /* the port is at the same place */
    int listener = socket(family, SOCK_STREAM, 0);
    char text[128], asked[2048];
    int length = snprintf(text, sizeof text, "HTTP/1.1 %d Told\r\nContent-Length: 9\r\n\r\nIt works\n", status);

    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        exit(99);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (read(connection, asked, sizeof asked) > 0 && write(connection, text, length) < 0)
            exit(97);
        close(connection);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *word = argv[i], *value = strchr(word, '=');
        value = value ? value + 1 : "";
        if (!strncmp(word, "say=", 4)) { puts(value); fflush(stdout); }
        if (!strncmp(word, "spin=", 5)) for (volatile long left = 1000 * atol(value); left > 0; left--);
        if (!strncmp(word, "exit=", 5)) exit(atoi(value));
        if (!strncmp(word, "term=", 5)) { status_of_term = atoi(value); signal(SIGTERM, leave); }
        if (!strncmp(word, "flood=", 6)) flood(atol(value));
        if (!strncmp(word, "http=", 5)) serve(atoi(value), AF_INET);
        if (!strcmp(word, "listen=[::]:80")) serve(200, AF_INET6);
        if (!strcmp(word, "cpus")) {
            cpu_set_t ours;
            sched_getaffinity(0, sizeof ours, &ours);
            printf("runs on %d\n", CPU_COUNT(&ours));
            fflush(stdout);
        }
        if (!strcmp(word, "reboot")) { usleep(300000); reboot(RB_AUTOBOOT); }  /* init has told of the start by then */
        if (!strcmp(word, "wait")) for (;;) pause();
    }
    return 0;
}
