/* The application of the tests of the machine: each word of its command line is one thing to do, in order. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLKGETSIZE64 _IOR(0x12, 114, size_t) /* linux/fs.h */

static void rest(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static void flood(long kib)
{
    char block[1024];
    for (int i = 0; i < 1024; i++)
        block[i] = i % 64 == 63 ? '\n' : 'x';
    while (kib-- > 0)
        write(1, block, sizeof block);
}

/* Answer every connection to the port with the text, after what was asked has come if ask is set. */
static void serve(int port, const char *text, int ask)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    char asked[2048];

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        exit(99);
    printf("listening on %d\n", port);
    fflush(stdout);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (ask)
            read(connection, asked, sizeof asked);
        write(connection, text, strlen(text));
        if (*text)
            close(connection);
    }
}

static void listen_at(const char *address, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(address)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 64))
        exit(99);
    printf("listening on %d\n", port);
    fflush(stdout);
    for (;;)
        pause();
}

/* As a server that wants both versions of IP. */
static void listen_six(void)
{
    if (socket(AF_INET6, SOCK_STREAM, 0) < 0) {
        fprintf(stderr, "socket [::]:80: %s\n", strerror(errno));
        exit(1);
    }
}

/* As a client of a server elsewhere. */
static void connect_to(const char *host)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(5432), .sin_addr.s_addr = inet_addr(host)};

    if (connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&at, sizeof at)) {
        fprintf(stderr, "connect %s: %s\n", host, strerror(errno));
        exit(1);
    }
}

/* As a daemon: two processes go on, and this one leaves. */
static void background(void)
{
    for (int i = 0; i < 2; i++)
        if (!fork())
            for (;;)
                pause();
    exit(0);
}

static void eat(void)
{
    for (;;)
        memset(malloc(1 << 20), 1, 1 << 20);
}

/* Work on one connection at a time, so many ms, and tell how many were served and for how many nobody waited. */
static void slow(int port, long ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), served = 0, nobody = 0;
    char asked[2048];

    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        exit(99);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        ssize_t size = read(connection, asked, sizeof asked);
        rest(ms);
        nobody += size <= 0 || recv(connection, asked, 1, MSG_DONTWAIT) == 0;
        printf("served %d, for nobody %d\n", ++served, nobody);
        fflush(stdout);
        send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nIt works\n", 47, MSG_NOSIGNAL);
        close(connection);
    }
}

/* Answer with events, without an end. */
static void stream(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    char asked[2048];

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        exit(99);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        read(connection, asked, sizeof asked);
        send(connection, "HTTP/1.1 200 OK\r\n\r\n", 19, MSG_NOSIGNAL);
        while (send(connection, "data: It works\n\n", 16, MSG_NOSIGNAL) > 0)
            rest(20);
        close(connection);
    }
}

static void disk(const char *path)
{
    unsigned long long bytes = 0;
    char first[17] = "", again[17] = "";
    int fd = open(path, O_RDONLY), written;

    ioctl(fd, BLKGETSIZE64, &bytes);
    read(fd, first, 16);
    close(fd);
    fd = open(path, O_RDWR);
    written = fd >= 0 && write(fd, "written by guest", 16) == 16 && !fsync(fd);
    lseek(fd, 0, SEEK_SET);
    read(fd, again, 16);
    printf("%s: %llu bytes, begins with '%s', %s '%s'\n", path, bytes, first, written ? "now" : "read-only", again);
}

static void deaf(int number) { (void)number; }

int main(int argc, char **argv)
{
    char line[256];

    for (int i = 1; i < argc; i++) {
        char *word = argv[i], *value = strchr(word, '=');
        value = value ? value + 1 : "";
        if (!strncmp(word, "say=", 4)) puts(value);
        if (!strncmp(word, "exit=", 5)) exit(atoi(value));
        if (!strncmp(word, "raise=", 6)) { signal(atoi(value), SIG_DFL); raise(atoi(value)); }
        if (!strncmp(word, "flood=", 6)) { fflush(stdout); flood(atol(value)); }
        if (!strncmp(word, "rest=", 5)) { fflush(stdout); rest(atol(value)); }
        if (!strncmp(word, "disk=", 5)) disk(value);
        if (!strcmp(word, "type")) { fflush(stdout); printf("typed: %s", fgets(line, sizeof line, stdin)); }
        if (!strcmp(word, "deaf")) signal(SIGTERM, deaf);
        if (!strcmp(word, "wait")) { puts("waiting"); fflush(stdout); for (;;) pause(); }
        if (!strncmp(word, "http=", 5)) serve(atoi(value), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nIt works\n", 1);
        if (!strncmp(word, "pong=", 5)) serve(atoi(value), "+PONG\r\n", 1);
        if (!strncmp(word, "slow=", 5)) slow(atoi(value), atol(strchr(value, ',') + 1));
        if (!strncmp(word, "local=", 6)) listen_at("127.0.0.1", atoi(value));
        if (!strcmp(word, "six")) listen_six();
        if (!strncmp(word, "connect=", 8)) connect_to(value);
        if (!strcmp(word, "background")) background();
        if (!strcmp(word, "eat")) eat();
        if (!strcmp(word, "reboot")) { fflush(stdout); reboot(RB_AUTOBOOT); }
        if (!strncmp(word, "stream=", 7)) stream(atoi(value));
        if (!strncmp(word, "mute=", 5)) serve(atoi(value), "", 0);
    }
    return 0;
}
