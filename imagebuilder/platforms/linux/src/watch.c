/* Seeing that the application listens, so that the host need not try its ports again and again while it starts.
 *
 * Our kernel tells it with SIGIO. Others have no event for it: there init looks, but only when the processor has nothing
 * else to do. From its start until it listens the application has the processor whenever it wants it, and once it
 * listens it waits, and init's turn has come. Each look costs about as much as one packet. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LOOK_MS = 1, MOST_LOOK_MS = 100,
    EAGER_MS = 5000,  /* so long it looks often and stands back for everybody; then seldom, and as one among others */
};
static const char SOCKETS[] = "/proc/1/net/sockstat", LISTENING[] = "\nTCP: inuse ";

static int sockets = -1, look_ms = LOOK_MS;
static bool wanted, told, humble;
static long long look_ns, eager_until_ns;

/* By the call: the C library's function refuses, since POSIX asks for more than Linux does. */
static void stand_back(bool back)
{
    static const struct sched_param none;

    if (back != humble && !syscall(SYS_sched_setscheduler, 0, back ? SCHED_IDLE : SCHED_OTHER, &none))
        humble = back;
}

static void look_again(int wait_ms)
{
    look_ns = now_ns() + (long long)wait_ms * NS_PER_MS;
}

/* Whether a TCP socket listens, or is connected already. */
static bool listening(void)
{
    char text[128];
    ssize_t size = pread(sockets, text, sizeof text - 1, 0);
    const char *second;

    text[size < 0 ? 0 : size] = '\0';
    second = strchr(text, '\n');
    return second && !strncmp(second, LISTENING, sizeof LISTENING - 1) && second[sizeof LISTENING - 1] != '0';
}

static void watch_end(void)
{
    close(sockets);
    sockets = -1;
    wanted = false;
    stand_back(false);
}

static void seen(void)
{
    channel_phase("listening", now_ns());
    watch_end();
}

void watch_begin(bool is_wanted, bool is_told)
{
    wanted = is_wanted;
    told = is_told;
    eager_until_ns = now_ns() + (long long)EAGER_MS * NS_PER_MS;
    if (!wanted)
        return;
    stand_back(!told);
    LINE("watch listening");
}

int watch_timeout_ms(void)
{
    if (!wanted || told)
        return -1;
    long long left_ns = look_ns - now_ns();
    return left_ns <= 0 ? 0 : (int)(left_ns / NS_PER_MS) + 1;
}

void watch_look(void)
{
    if (!wanted || told || now_ns() < look_ns)
        return;
    if (sockets < 0 && (sockets = open(SOCKETS, O_RDONLY | O_CLOEXEC)) < 0)
        return watch_end();
    if (listening())
        return seen();
    if (now_ns() > eager_until_ns) {
        stand_back(false);
        look_ms = look_ms * 2 < MOST_LOOK_MS ? look_ms * 2 : MOST_LOOK_MS;
    }
    look_again(look_ms);
}

void watch_told(void)
{
    if (wanted && told)
        seen();
}

/* Each line of the kernel's table begins "   0: 0100007F:0050 00000000:0000 0A "; 0A: it listens. Those come first.
 * Tells of all that listen, or gives whether one does at this port, in four digits. */
static bool listens_in(const char *path, const char *port)
{
    static char table[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, table, sizeof table - 1);

    if (fd >= 0)
        close(fd);
    table[size < 0 ? 0 : size] = '\0';
    for (char *line = strchr(table, '\n'), *end; line && (end = strchr(line + 1, '\n')); line = end) {
        char *local = strchr(line, ':'), *remote = local ? strchr(local + 2, ' ') : NULL,
             *state = remote ? strchr(remote + 1, ' ') : NULL;
        if (!state || state > end)
            break;
        *remote = '\0';
        if (strncmp(state, " 0A ", 4))
            continue;
        if (!port)
            LINE("listens ", local + 2);
        else if (!strcmp(strrchr(local, ':') + 1, port))
            return true;
    }
    return false;
}

/* The second is not there without IPv6. */
static const char TCP[] = "/proc/1/net/tcp", TCP6[] = "/proc/1/net/tcp6";

void listens_tell(void)
{
    listens_in(TCP, NULL);
    listens_in(TCP6, NULL);
}

bool listens_at(int port)
{
    char hex[5] = "";

    for (int i = 0; i < 4; i++)
        hex[i] = "0123456789ABCDEF"[port >> (12 - 4 * i) & 15];
    return listens_in(TCP, hex) || listens_in(TCP6, hex);
}
