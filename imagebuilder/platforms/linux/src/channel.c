/* The virtio-serial port to the host. It may appear at any time after the start: lines are kept until it is there, and
 * nothing is done about it before the application runs.
 *
 * A machine that knows its device says so (ib.channel=vport0p1). Else (ib.channel=1) it is found by its name: /sys may
 * not be mounted, so init looks into a sysfs of its own that stands nowhere in the tree. That costs a start of an
 * emulated machine several milliseconds. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    FSCONFIG_CMD_CREATE = 6, FSMOUNT_CLOEXEC = 1, FSOPEN_CLOEXEC = 1,
    FIRST_WAIT_MS = 2, MOST_WAIT_MS = 1000,  /* between looks for the port, or for somebody at its other end */
    END_WAIT_MS = 2000,
    ROOM_FOR_END = 768,                      /* of the kept lines: an error and the exit status always fit */
};
static const char NAME[] = "imagebuilder.0\n", BY_NAME[] = "1";

static const char *wanted;  /* the device, or BY_NAME; NULL: no channel */
static bool hung;           /* the port is open and nobody holds its other end */
static int port = -1, sys = -1, wait_ms = FIRST_WAIT_MS;
static long long again_ns;  /* when to try again */
static char kept[4096];     /* lines without their moment of sending */
static size_t kept_bytes;

void channel_begin(const char *device)
{
    wanted = device;
}

int sysfs_open(void)
{
    int config = (int)syscall(SYS_fsopen, "sysfs", FSOPEN_CLOEXEC), fd = -1;

    if (config < 0)
        return -1;
    if (!syscall(SYS_fsconfig, config, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        fd = (int)syscall(SYS_fsmount, config, FSMOUNT_CLOEXEC, 0);
    close(config);
    return fd;
}

static bool port_is_ours(int class, const char *device)
{
    char name[sizeof NAME];
    struct text path = {0};

    text_join(&path, device, "/name", NULL);
    int fd = openat(class, path.s, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, name, sizeof name);
    if (fd >= 0)
        close(fd);
    return size == sizeof NAME - 1 && !memcmp(name, NAME, sizeof NAME - 1);
}

static int port_open(const char *device)
{
    struct text path = {0};

    text_join(&path, "/dev/", device, NULL);
    return open(path.s, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

/* Look through the ports in sysfs for the one of our name. */
static int port_find(void)
{
    struct entry { uint64_t inode, offset; uint16_t size; uint8_t type; char name[]; } *entry;
    static _Alignas(struct entry) char list[1024];
    int class, found = -1;
    long size;

    if (sys < 0 && (sys = sysfs_open()) < 0)
        return port_open("vport0p1");  /* a kernel without sysfs: our machines have one port */
    class = openat(sys, "class/virtio-ports", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (class >= 0 && found < 0 && (size = syscall(SYS_getdents64, class, list, sizeof list)) > 0)
        for (char *at = list; at < list + size && found < 0; at += entry->size) {
            entry = (struct entry *)at;
            if (*entry->name != '.' && port_is_ours(class, entry->name))
                found = port_open(entry->name);
        }
    if (class >= 0)
        close(class);
    return found;
}

static void port_try(void)
{
    port = strcmp(wanted, BY_NAME) ? port_open(wanted) : port_find();
    if (port < 0)
        return;
    if (sys >= 0)
        close(sys);
    sys = -1;
    wait_ms = FIRST_WAIT_MS;
}

/* A port is open once. To an ordinary user it is closed anyway; root could be faster than we are. */
void channel_claim(void)
{
    const struct timespec tick = {.tv_nsec = NS_PER_MS};

    for (int tries = END_WAIT_MS; wanted && port < 0 && tries > 0; tries--) {
        port_try();
        if (port < 0)
            nanosleep(&tick, NULL);
    }
}

/* Write down what is kept, each line with the moment of sending in front; gives the size, and how much of it that is. */
static size_t lines_stamp(char *out, size_t room, size_t *taken)
{
    struct digits now = digits(now_ns());
    size_t used = 0, head = strlen(now.s);

    for (*taken = 0; *taken < kept_bytes;) {
        const char *line = kept + *taken;
        size_t size = (size_t)((char *)memchr(line, '\n', kept_bytes - *taken) - line) + 1;
        if (used + head + 1 + size > room)
            break;
        memcpy(out + used, now.s, head);
        out[used + head] = ' ';
        memcpy(out + used + head + 1, line, size);
        used += head + 1 + size;
        *taken += size;
    }
    return used;
}

/* All lines go in one piece: each piece is a notice to the host, and an answer of its. */
static void flush(void)
{
    static char out[2 * sizeof kept];
    size_t taken;

    if (port < 0)
        port_try();
    while (port >= 0 && kept_bytes) {
        size_t size = lines_stamp(out, sizeof out, &taken);
        if (write(port, out, size) <= 0 && (errno == EAGAIN || errno == EINTR))
            break;
        memmove(kept, kept + taken, kept_bytes -= taken);
    }
    again_ns = now_ns() + (long long)wait_ms * NS_PER_MS;
}

static void keep(struct text *line, size_t room)
{
    for (char *c = line->s; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    line->s[line->used++] = '\n';
    if (kept_bytes + line->used + room > sizeof kept)
        return;
    memcpy(kept + kept_bytes, line->s, line->used);
    kept_bytes += line->used;
}

void channel_line(const char *first, ...)
{
    struct text line = {.used = 0};
    va_list words;

    if (!wanted)
        return;
    va_start(words, first);
    for (const char *word = first; word; word = va_arg(words, const char *))
        if (line.used + strlen(word) < sizeof line.s - 32)  /* room for the moment of sending */
            text_add(&line, word);
    va_end(words);
    keep(&line, strchr("es", *first) ? 0 : ROOM_FOR_END);  /* error, exit, signal */
}

void channel_phase(const char *name, long long at_ns)
{
    LINE("phase ", name, " ", DIGITS(at_ns));
}

void channel_poll(struct pollfd *entry)
{
    *entry = (struct pollfd){.fd = hung ? -1 : port, .events = POLLIN};
    if (port >= 0 && kept_bytes)
        entry->events |= POLLOUT;
}

int channel_timeout_ms(void)
{
    if (!wanted || (port >= 0 && !hung))
        return -1;
    long long left_ns = again_ns - now_ns();
    return left_ns <= 0 ? 0 : (int)(left_ns / NS_PER_MS) + 1;
}

/* Take whole lines from the host; what is longer than the buffer is dropped. */
static void commands_read(void (*command)(char *line))
{
    static char line[1024];
    static size_t used;
    char bytes[1024];
    ssize_t size = read(port, bytes, sizeof bytes);

    for (ssize_t i = 0; i < size; i++) {
        if (bytes[i] != '\n') {
            line[used] = bytes[i];
            used += used < sizeof line - 1;
            continue;
        }
        line[used] = '\0';
        if (used < sizeof line - 1)
            command(line);
        used = 0;
    }
}

bool channel_take(void (*command)(char *line), const bool *enough, int limit_ms)
{
    const struct timespec tick = {.tv_nsec = NS_PER_MS};
    long long until_ns = now_ns() + (long long)limit_ms * NS_PER_MS;

    channel_claim();
    flush();
    while (!*enough && port >= 0 && now_ns() < until_ns) {
        struct pollfd entry = {.fd = port, .events = POLLIN};
        if (poll(&entry, 1, MOST_WAIT_MS) > 0 && entry.revents & POLLIN)
            commands_read(command);
        else
            nanosleep(&tick, NULL);  /* nobody holds the other end yet */
    }
    return *enough;
}

static void back_off(void)
{
    wait_ms = wait_ms * 2 < MOST_WAIT_MS ? wait_ms * 2 : MOST_WAIT_MS;
}

void channel_ready(short ready, void (*command)(char *line))
{
    if (!wanted)
        return;
    if (port < 0) {
        back_off();
    } else if (hung) {
        back_off();
        hung = false;  /* poll tells again */
        return;
    } else if (ready & (POLLHUP | POLLERR)) {
        hung = true;
    }
    if (port >= 0 && ready & POLLIN && command)
        commands_read(command);
    if (!hung)
        flush();
    else
        again_ns = now_ns() + (long long)wait_ms * NS_PER_MS;
}

void channel_drain(void)
{
    long long until_ns = now_ns() + (long long)END_WAIT_MS * NS_PER_MS;

    wait_ms = FIRST_WAIT_MS;
    hung = false;
    if (wanted)
        flush();
    while (wanted && kept_bytes && now_ns() < until_ns) {
        struct pollfd entry;
        int wait = channel_timeout_ms();
        channel_poll(&entry);
        if (port >= 0)
            entry.events = POLLOUT;  /* nobody reads any more */
        if (wait < 0 || wait > 20)
            wait = 20;
        channel_ready(poll(&entry, 1, wait) > 0 ? entry.revents : 0, NULL);
    }
}

void channel_end(void)
{
    channel_drain();
    if (port >= 0)
        close(port);  /* returns when the device has answered: by then it has taken what was written before */
    port = -1;
    wanted = NULL;
}
