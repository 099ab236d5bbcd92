/* The first program of a machine that is traced. A child of it writes to a disk who opens which file of the root, and
 * init goes on as if it had been the first itself (docs/contracts.md). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INIT "/init"
#define ROOT "/proc/1/root" /* init may lay a writable layer over the root */
#define SCHEMA "imagebuilder.trace/1"

enum { MOST_OPENED = 1 << 17, EVENTS_BYTES = 1 << 16, OUT_BYTES = 1 << 16, MOST_PATH = 4096 };

static uint64_t seen[2 * MOST_OPENED];  /* hashes of what is written down already; 0: free */
static char out[OUT_BYTES];
static size_t used;
static off_t written;
static int disk = -1, opened = -1, count;

static _Noreturn void fail(const char *what)
{
    dprintf(open("/dev/console", O_WRONLY | O_CLOEXEC), "trace: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void flush(void)
{
    if (pwrite(disk, out, used, written) != (ssize_t)used)
        fail("cannot write what was opened");
    written += (off_t)used;
    used = 0;
}

static uint64_t hash(uint64_t value, const char *text)
{
    do {
        value = (value ^ (unsigned char)*text) * 0x100000001b3;
    } while (*text++);
    return value;
}

static bool is_new(const char *path, const char *by)
{
    uint64_t key = hash(hash(0xcbf29ce484222325, path), by) | 1;
    size_t at = (key >> 1) % (2 * MOST_OPENED);

    for (; seen[at]; at = (at + 1) % (2 * MOST_OPENED))
        if (seen[at] == key)
            return false;
    if (count++ == MOST_OPENED) {
        errno = EOVERFLOW;
        fail("more files were opened than there is room for");
    }
    seen[at] = key;
    return true;
}

static void link_read(const char *folder, int number, const char *name, char *target)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%d%s", folder, number, name);
    ssize_t size = readlink(path, target, MOST_PATH - 1);
    target[size < 0 ? 0 : size] = '\0';  /* who has ended already, and the kernel itself, have no program */
}

/* PATH NUL PROGRAM NUL */
static void write_down(const char *path, const char *by)
{
    size_t path_bytes = strlen(path) + 1, by_bytes = strlen(by) + 1;

    if (*path != '/' || !is_new(path, by))
        return;
    if (used + path_bytes + by_bytes > sizeof out)
        flush();
    memcpy(out + used, path, path_bytes);
    memcpy(out + used + path_bytes, by, by_bytes);
    used += path_bytes + by_bytes;
}

static void events_take(void)
{
    static _Alignas(struct fanotify_event_metadata) char events[EVENTS_BYTES];
    char path[MOST_PATH], by[MOST_PATH];
    ssize_t size = read(opened, events, sizeof events);
    const struct fanotify_event_metadata *event = (const void *)events;

    for (; FAN_EVENT_OK(event, size); event = FAN_EVENT_NEXT(event, size)) {
        if (event->fd < 0)
            continue;
        link_read("/proc/self/fd", event->fd, "", path);
        link_read("/proc", event->pid, "/exe", by);
        close(event->fd);
        write_down(path, by);
    }
    if (used)
        flush();
}

static dev_t root_mark(dev_t marked)
{
    struct stat root;

    if (stat(ROOT, &root))
        fail("cannot see the root");
    if (root.st_dev != marked &&
        fanotify_mark(opened, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN | FAN_ONDIR, AT_FDCWD, ROOT))
        fail("cannot watch the root");
    return root.st_dev;
}

/* The disk's name, behind ib.trace= on the kernel's command line. */
static int disk_open(void)
{
    static char cmdline[4096];
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, cmdline, sizeof cmdline - 1);
    char *name = size > 0 ? strstr(cmdline, "ib.trace=") : NULL;

    close(fd);
    if (!name)
        return errno = EINVAL, -1;
    name += strlen("ib.trace=");
    name[strcspn(name, " \n")] = '\0';
    return open(name, O_WRONLY | O_DSYNC | O_CLOEXEC);
}

static _Noreturn void trace(int started)
{
    struct sched_param first = {.sched_priority = 1};

    /* Its /proc and /dev are its own: init mounts those that the application sees. */
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL) || mount("proc", "/proc", "proc", 0, NULL))
        fail("cannot mount what it needs");
    if ((disk = disk_open()) < 0)
        fail("cannot open the disk of ib.trace=");
    opened = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE, O_RDONLY | O_LARGEFILE | O_CLOEXEC);
    if (opened < 0)
        fail("the kernel does not tell who opens which file");
    /* Before whoever opened a file goes on: afterwards it may be gone, or another program. */
    if (syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &first))  /* musl's own refuses */
        fail("cannot go before others");
    int mounts = open("/proc/1/mountinfo", O_RDONLY | O_CLOEXEC);
    struct pollfd entries[] = {{.fd = opened, .events = POLLIN}, {.fd = mounts, .events = POLLPRI}};
    dev_t marked = root_mark(0);
    memcpy(out, SCHEMA "\n", used = strlen(SCHEMA "\n"));
    flush();
    if (write(started, "", 1) != 1)
        fail("cannot say that it has started");
    for (;;) {
        poll(entries, 2, -1);
        if (entries[1].revents)
            marked = root_mark(marked);
        if (entries[0].revents)
            events_take();
    }
}

int main(int argc, char **argv)
{
    int ends[2];
    char byte;

    (void)argc;
    if (getpid() != 1)
        return 1;
    if (pipe2(ends, O_CLOEXEC))
        return 1;
    pid_t child = fork();
    if (!child)
        trace(ends[1]);
    close(ends[1]);
    if (child < 0 || read(ends[0], &byte, 1) != 1)
        reboot(RB_AUTOBOOT);
    argv[0] = INIT;
    execv(INIT, argv);
    reboot(RB_AUTOBOOT);
}
