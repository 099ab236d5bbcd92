/* What the image has where something is mounted over it: copied onto the mount, so that the application finds it. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/mount.h> and <linux/dirent.h>, which are not among the C library's headers. */
enum { OPEN_TREE_CLONE = 1, TARGET_BYTES = 4096, ENTRIES_BYTES = 1024, COPY_BYTES = 1 << 30 };
struct entry { uint64_t inode; int64_t next; uint16_t size; uint8_t type; char name[]; };

static void folder_copy(int from, int to);

static bool link_copy(int from, int to, const char *name)
{
    static char target[TARGET_BYTES];
    ssize_t size = readlinkat(from, name, target, sizeof target - 1);

    if (size < 0)
        return false;
    target[size] = '\0';
    return !symlinkat(target, to, name);
}

static bool file_copy(int from, int to, const char *name)
{
    int in = openat(from, name, O_RDONLY | O_CLOEXEC), out;
    ssize_t size = -1;

    if (in >= 0 && (out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) >= 0) {
        while ((size = sendfile(out, in, NULL, COPY_BYTES)) > 0)
            ;
        int error = errno;
        close(out);
        errno = error;
    }
    int error = errno;
    close(in);
    errno = error;
    return !size;
}

static bool node_copy(int from, int to, const char *name, const struct stat *s)
{
    switch (s->st_mode & S_IFMT) {
    case S_IFDIR:
        return !mkdirat(to, name, 0700);
    case S_IFLNK:
        return link_copy(from, to, name);
    case S_IFREG:
        return file_copy(from, to, name);
    default:
        return !mknodat(to, name, s->st_mode, s->st_rdev);
    }
}

static bool attributes_copy(int to, const char *name, const struct stat *s)
{
    const struct timespec times[2] = {s->st_atim, s->st_mtim};

    return !fchownat(to, name, s->st_uid, s->st_gid, AT_SYMLINK_NOFOLLOW) &&
           (S_ISLNK(s->st_mode) || !fchmodat(to, name, s->st_mode & 07777, 0)) &&
           !utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
}

static void copy(int from, int to, const char *name)
{
    struct stat s;
    bool made, there = false;

    if (fstatat(from, name, &s, AT_SYMLINK_NOFOLLOW))
        FAIL("cannot look at ", name, ", which is below a mount: ", REASON);
    made = node_copy(from, to, name, &s);
    if (!made && errno == EEXIST) {
        /* A folder, such as another mount's, keeps its mode, and a device is the kernel's; else the image's counts. */
        there = S_ISDIR(s.st_mode) || S_ISCHR(s.st_mode) || S_ISBLK(s.st_mode);
        made = there || (!unlinkat(to, name, 0) && node_copy(from, to, name, &s));
    }
    if (!made)
        FAIL("cannot copy ", name, ", which is below a mount, onto it: ", REASON);
    if (S_ISDIR(s.st_mode)) {
        int below = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), onto = openat(to, name, O_PATH | O_CLOEXEC);
        folder_copy(below, onto);
        close(below);
        close(onto);
    }
    if (!there && !attributes_copy(to, name, &s))
        FAIL("cannot give ", name, " its owner, mode and time: ", REASON);
}

static void folder_copy(int from, int to)
{
    _Alignas(struct entry) char entries[ENTRIES_BYTES];
    long size;

    while ((size = syscall(SYS_getdents64, from, entries, sizeof entries)) > 0)
        for (long at = 0; at < size; at += ((const struct entry *)(entries + at))->size) {
            const char *name = ((const struct entry *)(entries + at))->name;
            if (strcmp(name, ".") && strcmp(name, ".."))
                copy(from, to, name);
        }
    if (size < 0)
        FAIL("cannot read a folder that is below a mount: ", REASON);
}

void covered_copy(const struct conf *conf)
{
    /* The root without what is mounted on it: the files that the mounts cover. */
    int root = (int)syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | O_CLOEXEC);

    if (root < 0)
        FAIL("cannot look below the mounts: ", REASON);
    for (int i = 0; i < conf->copies; i++) {
        int from = openat(root, conf->copy[i] + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int to = open(conf->copy[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (from < 0 || to < 0)
            FAIL("cannot look below the mount on ", conf->copy[i], ": ", REASON);
        folder_copy(from, to);
        close(from);
        close(to);
    }
    close(root);
}
