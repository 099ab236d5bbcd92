/* Mount, run, write down, power off. The first block of the device says how it went, and is written last. */
#include "prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DEVICE "/dev/vda"
#define SCHEMA "imagebuilder.changes/1"

enum { HEAD_BYTES = 4096, NOT_STARTED = 127 };

static struct orders orders;
static int device = -1;
static bool is_inner;  /* the first process of the command's namespace, whose number is 1 too */

static _Noreturn void power_off(void)
{
    int quiet = open("/proc/sys/kernel/printk", O_WRONLY | O_CLOEXEC);

    sync();
    if (quiet >= 0 && write(quiet, "0", 1) == 1)  /* or "Restarting system" ends what the command said */
        close(quiet);
    tcdrain(2);
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

/* One line; the rest of the first block stays empty. */
static void result_write(const char *words)
{
    char head[HEAD_BYTES] = "";

    snprintf(head, sizeof head, SCHEMA " %s\n", words);
    if (device >= 0 && pwrite(device, head, sizeof head, 0) == sizeof head)
        fsync(device);
}

_Noreturn void fail(const char *format, ...)
{
    char why[1024], words[1100];
    va_list values;

    va_start(values, format);
    vsnprintf(why, sizeof why, format, values);
    va_end(values);
    for (char *c = why; *c; c++)
        if (*c < ' ')
            *c = '?';
    if (is_inner) {
        fprintf(stderr, "%s\n", why);
        _exit(NOT_STARTED);
    }
    snprintf(words, sizeof words, "error %s", why);
    result_write(words);
    power_off();
}

static void mounted(const char *type, const char *target, unsigned long flags, const char *options)
{
    if (mount(type, target, type, flags, options) && errno != EBUSY)
        fail("cannot mount %s on %s: %s", type, target, strerror(errno));
}

static void console_open(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    for (int i = 0; i < 3; i++)
        if (fd >= 0 && fd != i)
            dup2(fd, i);
    if (fd > 2)
        close(fd);
}

/* Lay the writable layer over the root; gives the folder that holds what is changed from now on. */
static int layer_mount(void)
{
    mounted("tmpfs", "/proc", 0, orders.layer);
    if (mkdir("/proc/upper", 0755) || mkdir("/proc/work", 0755) || mkdir("/proc/root", 0755))
        fail("cannot make the writable layer: %s", strerror(errno));
    int upper = open("/proc/upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mount("overlay", "/proc/root", "overlay", 0, "lowerdir=/,upperdir=/proc/upper,workdir=/proc/work") ||
        chdir("/proc/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
        fail("cannot lay the writable layer over the root: %s", strerror(errno));
    return upper;
}

static void system_mount(void)
{
    mounted("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mounted("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mounted("devtmpfs", "/dev", MS_NOSUID, NULL);
    symlink("/proc/self/fd", "/dev/fd");
    symlink("fd/0", "/dev/stdin");
    symlink("fd/1", "/dev/stdout");
    symlink("fd/2", "/dev/stderr");
    mkdir("/dev/shm", 01777);
    chmod("/dev/shm", 01777);
    mkdir("/dev/pts", 0755);
    mounted("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666");
    chmod("/dev/console", 0622);
}

/* The command itself: whom it runs as, and where. */
static _Noreturn void command_become(void)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

    setsid();
    dup2(nothing, 0);
    if (setgroups((size_t)orders.groups, orders.group) || setgid(orders.gid) || setuid(orders.uid)) {
        fprintf(stderr, "cannot become the user %u: %s\n", (unsigned)orders.uid, strerror(errno));
        _exit(NOT_STARTED);
    }
    if (chdir(orders.cwd)) {
        fprintf(stderr, "cannot enter the folder %s: %s\n", orders.cwd, strerror(errno));
        _exit(NOT_STARTED);
    }
    environ = orders.env;  /* it is looked for in its own PATH */
    execvp(orders.arg[0], orders.arg);
    fprintf(stderr, "cannot start %s: %s\n", orders.arg[0], strerror(errno));
    _exit(NOT_STARTED);
}

/* A namespace of its own, so that process numbers are the same each time; its first process gathers the others, and
 * with its end they all end. */
static int command_run(void)
{
    int status = 0;

    if (unshare(CLONE_NEWPID))
        fail("cannot make a namespace for the command: %s", strerror(errno));
    pid_t first = fork();
    if (!first) {
        pid_t ended, command;
        is_inner = true;
        mounted("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
        if (!(command = fork()))
            command_become();
        while ((ended = waitpid(-1, &status, 0)) != command)
            if (ended < 0)
                _exit(NOT_STARTED);
        _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
    if (first < 0 || waitpid(first, &status, 0) != first)
        fail("cannot make a process: %s", strerror(errno));
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void)
{
    char words[80];
    long long members = 0, written = 0;

    if (getpid() != 1)
        return 1;
    mounted("devtmpfs", "/dev", MS_NOSUID, NULL);
    console_open();
    device = open(DEVICE, O_RDWR | O_CLOEXEC);
    orders_read(&orders, "/init.conf");
    int upper = layer_mount();
    system_mount();
    sethostname(orders.hostname, strlen(orders.hostname));
    loopback_up();
    if (orders.network)
        network_up(orders.network);
    int status = command_run();
    if (!status) {
        if (lseek(device, HEAD_BYTES, SEEK_SET) != HEAD_BYTES)
            fail("there is no disk to write to");
        written = changes_write(device, upper, &orders, &members);
        if (fsync(device))
            fail("cannot write what the command changed: %s", strerror(errno));
    }
    snprintf(words, sizeof words, "exit %d bytes %lld members %lld", status, written, members);
    result_write(words);
    power_off();
}
