/* An application that does the one thing that its word says, and tells by which call it was refused. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

static int told(const char *call, int failed)
{
    if (failed)
        printf("%s: %s\n", call, strerror(errno));
    fflush(stdout);
    return failed != 0;
}

static int keep(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600), failed = fd < 0 || write(fd, "x", 1) != 1;
    if (failed)
        printf("open(\"%s\"): %s\n", path, strerror(errno));
    fflush(stdout);
    return failed;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const struct timespec now = {.tv_sec = 1700000000};

    if (!strcmp(word, "setuid"))
        return told("setgroups", setgroups(0, NULL)) || told("setgid", setgid(33)) || told("setuid", setuid(33));
    if (!strcmp(word, "chown")) return told("chown(\"/usr/bin/app\", 33)", chown("/usr/bin/app", 33, 33));
    if (!strcmp(word, "raw")) return told("raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0);
    if (!strcmp(word, "nice")) return told("setpriority", setpriority(PRIO_PROCESS, 0, -5));
    if (!strcmp(word, "mount")) return told("mount", mount("tmpfs", "/tmp", "tmpfs", 0, NULL));
    if (!strcmp(word, "chroot")) return told("chroot", chroot("/tmp"));
    if (!strcmp(word, "clock")) return told("clock_settime", clock_settime(CLOCK_REALTIME, &now));
    if (!strcmp(word, "mknod")) return told("mknod", mknod("/tmp/null", S_IFCHR | 0600, makedev(1, 3)));
    return keep(word);
}
