/* Modules, mounts and the writable root. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { MODULE_INIT_COMPRESSED_FILE = 4, AHEAD_PART = 3 };
static const off_t PAGE_BYTES = 4096;

/* fstab's words: flags are set and cleared; every other word goes to the file system. */
static const struct { const char *name; unsigned long set, clear; } FLAGS[] = {
    {"defaults", 0, 0}, {"ro", MS_RDONLY, 0}, {"rw", 0, MS_RDONLY}, {"nosuid", MS_NOSUID, 0}, {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0}, {"dev", 0, MS_NODEV}, {"noexec", MS_NOEXEC, 0}, {"exec", 0, MS_NOEXEC},
    {"noatime", MS_NOATIME, 0}, {"nodiratime", MS_NODIRATIME, 0}, {"relatime", MS_RELATIME, 0},
    {"strictatime", MS_STRICTATIME, 0}, {"sync", MS_SYNCHRONOUS, 0}, {"dirsync", MS_DIRSYNC, 0},
    {"bind", MS_BIND, 0}, {"rbind", MS_BIND | MS_REC, 0},
};

static bool flag_take(const char *option, unsigned long *flags)
{
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
        if (!strcmp(option, FLAGS[i].name)) {
            *flags = (*flags & ~FLAGS[i].clear) | FLAGS[i].set;
            return true;
        }
    return false;
}

bool file_write(const char *path, const char *text, int flags)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
    size_t length = strlen(text);
    bool good = fd >= 0 && write(fd, text, length) == (ssize_t)length;
    int error = errno;

    if (fd >= 0)
        close(fd);
    errno = error;
    return good;
}

void modules_load(const struct conf *conf)
{
    for (int i = 0; i < conf->modules; i++) {
        const char *path = conf->module[i], *suffix = strrchr(path, '.');
        int packed = suffix && strcmp(suffix, ".ko") ? MODULE_INIT_COMPRESSED_FILE : 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            FAIL("cannot open the kernel module ", path, ": ", REASON);
        if (syscall(SYS_finit_module, fd, "", packed) && errno != EEXIST)
            FAIL("cannot load the kernel module ", path, ": ",
                 errno == ENOENT ? "it needs another module before it" : REASON);
        close(fd);
    }
}

/* Only a part of the memory is for what may be needed; a file that cannot be read is the application's to complain. */
void files_ahead(const struct conf *conf)
{
    struct sysinfo memory;
    off_t room = !conf->aheads || sysinfo(&memory) ? 0 : (off_t)(memory.freeram / AHEAD_PART);

    for (int i = 0, part = 0; i < conf->aheads; i++) {
        int fd = open(conf->ahead[i].path, O_RDONLY | O_CLOEXEC);
        for (; part < conf->ahead[i].end_part; part++) {
            off_t begin = conf->part[part].first * PAGE_BYTES, size = conf->part[part].count * PAGE_BYTES;
            if (size <= room && !posix_fadvise(fd, begin, size, POSIX_FADV_WILLNEED))
                room -= size;
        }
        close(fd);
    }
}

/* Make a folder and those above it; what is there already is left as it is. */
static int folder_make(const char *path)
{
    char part[256];
    size_t length = strlen(path);

    if (length >= sizeof part)
        return errno = ENAMETOOLONG, -1;
    memcpy(part, path, length + 1);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        if (mkdir(part, 0755) && errno != EEXIST)
            return -1;
    }
    return mkdir(path, 0755) && errno != EEXIST ? -1 : 0;
}

static void base_mount(const char *type, const char *target, unsigned long flags, const char *options)
{
    /* The folder is nearly always there; EBUSY: the kernel has mounted it by itself. */
    int failed = mount(type, target, type, flags, options);
    if (failed && errno == ENOENT && !mkdir(target, 0755))
        failed = mount(type, target, type, flags, options);
    if (failed && errno != EBUSY)
        FAIL("cannot mount ", target, ": ", REASON);
}

void mount_base(void)
{
    /* The application sees the processes that it could look into. Of hidepid=2 the group 0 would be exempt. */
    base_mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=4");
    base_mount("devtmpfs", "/dev", MS_NOSUID, NULL);
    /* A kernel without a console refuses: an application must find 0, 1 and 2 open all the same. */
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        if (fd >= 0 && fd != i)
            dup2(fd, i);
    if (fd > 2)
        close(fd);
}

void mount_overlay(const char *size)
{
    struct text options = {0};

    /* /proc is a folder that every image has: what is mounted there vanishes under the new root with the old one. */
    text_join(&options, "mode=0755", *size ? ",size=" : "", size, NULL);
    if (mount("tmpfs", "/proc", "tmpfs", 0, options.s) || mkdir("/proc/upper", 0755) || mkdir("/proc/work", 0755) ||
        mkdir("/proc/root", 0755))
        FAIL("cannot make the writable layer: ", REASON);
    if (mount("overlay", "/proc/root", "overlay", 0, "lowerdir=/,upperdir=/proc/upper,workdir=/proc/work"))
        FAIL("cannot lay the writable layer over the root: ", errno == ENODEV ? "the kernel has no overlayfs" : REASON);
    if (chdir("/proc/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
        FAIL("cannot move into the writable root: ", REASON);
    mount_base();
}

/* What Debian's udev and systemd make there besides: programs know where they get their output from, and share memory.
 * The mask of PID 1 leaves others no right to write. */
static void dev_fill(void)
{
    static const char *const LINKS[][2] = {
        {"/proc/self/fd", "/dev/fd"},
        {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"},
    };

    for (size_t i = 0; i < sizeof LINKS / sizeof *LINKS; i++)
        symlink(LINKS[i][0], LINKS[i][1]);
    unlink("/dev/kmsg");  /* the kernel's messages are the host's, on the console */
    umask(0);
    mkdir("/dev/shm", 01777);
    umask(022);
}

static void mount_one(const struct mount *m)
{
    struct text data = {0};
    const char *source = m->type, *option = m->options;
    unsigned long flags = 0;
    char *comma;

    do {
        if ((comma = strchr(option, ',')))
            *comma++ = '\0';
        if (!strncmp(option, "source=", 7))
            source = option + 7;
        else if (!flag_take(option, &flags))
            text_join(&data, data.used ? "," : "", option, NULL);
        option = comma;
    } while (comma);
    if (folder_make(m->target))
        FAIL("cannot make the folder ", m->target, ": ", REASON);
    if (mount(source, m->target, m->type, flags, data.s) && errno != EBUSY)
        FAIL("cannot mount ", m->type, " on ", m->target, ": ",
             errno == ENODEV ? "the kernel does not know this file system" : REASON);
    if (flags & MS_BIND && flags & MS_RDONLY)  /* a bind mount takes its flags only afterwards */
        mount(NULL, m->target, NULL, flags | MS_REMOUNT, NULL);
}

void mount_all(const struct conf *conf)
{
    dev_fill();
    for (int i = 0; i < conf->mounts; i++)
        mount_one(&conf->mount[i]);
    if (conf->copies)
        covered_copy(conf);
    for (int i = 0; i < conf->sysctls; i++) {
        struct text path = {0};
        text_join(&path, "/proc/sys/", conf->sysctl[i].path, NULL);
        if (!file_write(path.s, conf->sysctl[i].value, 0))
            FAIL("cannot write '", conf->sysctl[i].value, "' to ", path.s, ": ", REASON);
    }
}

void unmount_disks(const struct conf *conf)
{
    /* Nothing runs any more: a disk that was written is left clean. A tmpfs need not be. */
    for (int i = conf->mounts - 1; i >= 0; i--)
        umount2(conf->mount[i].target, 0);
}
