/* An HTTP server, one connection at a time. The path says what it does:
 *   /         who it is
 *   /echo     the request, head and body
 *   /chunked  a body in chunks, and a header that belongs to this connection only
 *   /garbage  an answer that is none    /silent   no answer    /stuck   never an answer    /end   the end of the machine
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char request[1 << 16];
static size_t used;

static void say(int peer, const char *text)
{
    for (size_t size = strlen(text); size;) {
        ssize_t wrote = write(peer, text, size);
        if (wrote <= 0)
            return;
        text += wrote;
        size -= (size_t)wrote;
    }
}

/* The whole request; false when there is none. */
static int receive(int peer)
{
    char *body = NULL;
    size_t length = 0;

    used = 0;
    while (!body || used < (size_t)(body - request) + length) {
        ssize_t size = read(peer, request + used, sizeof request - 1 - used);
        if (size <= 0)
            return 0;
        used += (size_t)size;
        request[used] = '\0';
        if (!body && (body = strstr(request, "\r\n\r\n"))) {
            char *header = strcasestr(request, "\r\nContent-Length:");
            body += 4;
            length = header && header < body ? strtoul(header + 17, NULL, 10) : 0;
        }
    }
    return 1;
}

static void who(char *text, size_t room)
{
    struct timespec now;
    unsigned char random[16];
    struct ifaddrs *all = NULL;
    char name[65];
    int at;

    clock_gettime(CLOCK_REALTIME, &now);
    gethostname(name, sizeof name);
    at = snprintf(text, room, "realtime_ns %lld\nhostname %s\nrandom ", now.tv_sec * 1000000000LL + now.tv_nsec, name);
    if (getrandom(random, sizeof random, 0) == sizeof random)
        for (size_t i = 0; i < sizeof random; i++)
            at += snprintf(text + at, room - (size_t)at, "%02x", random[i]);
    getifaddrs(&all);
    for (struct ifaddrs *each = all; each; each = each->ifa_next)
        if (each->ifa_addr && each->ifa_addr->sa_family == AF_INET && strcmp(each->ifa_name, "lo"))
            at += snprintf(text + at, room - (size_t)at, "\naddress %s\n",
                           inet_ntoa(((struct sockaddr_in *)each->ifa_addr)->sin_addr));
    freeifaddrs(all);
}

static void answer(int peer, const char *body)
{
    char head[128];

    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nX-Teller: yes\r\n\r\n", strlen(body));
    say(peer, head);
    if (strncmp(request, "HEAD ", 5))
        say(peer, body);
}

static void serve(int peer)
{
    static char text[1024];
    char *path;

    if (!receive(peer) || !(path = strchr(request, ' ')))
        return;
    path++;
    path[strcspn(path, " ?")] = '\0';
    if (!strcmp(path, "/end"))
        exit(3);
    else if (!strcmp(path, "/stuck"))
        for (;;)
            pause();
    else if (!strcmp(path, "/garbage"))
        say(peer, "This is no HTTP.\r\n\r\n");
    else if (!strcmp(path, "/silent"))
        return;
    else if (!strcmp(path, "/chunked"))
        say(peer, "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Here\r\nX-Here: 1\r\n"
                  "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n");
    else if (!strcmp(path, "/echo")) {
        path[strlen(path)] = ' ';
        answer(peer, request);
    } else {
        who(text, sizeof text);
        answer(peer, text);
    }
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        return 1;
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        if (peer < 0)
            continue;
        serve(peer);
        shutdown(peer, SHUT_WR);
        close(peer);
    }
}
