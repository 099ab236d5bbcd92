/* PID 1 of the machine that tests the formats: prints what its kernel finds in a file system, and powers off.
 *
 * walk=initramfs and walk=memory look at /tree, walk=TYPE at the disk /dev/vda as a file system of that type. One line
 * a node: "walk: MODE UID GID MTIME MAJOR:MINOR HASH PATH", the numbers as stat has them (mode in octal) and the FNV-1a hash of
 * a file's content or a link's target, and of its extended attributes; then "walk: end". A file must be the same however it is read: mapped (where what
 * is written to a private copy is nobody else's) and sent; else its hash is 0.
 */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#include "../console.h"

static char buffer[65536];
static size_t root_length;

#define FNV_BEGIN 0xcbf29ce484222325

static uint64_t fnv(uint64_t hash, const char *data, size_t length)
{
    while (length--)
        hash = (hash ^ (unsigned char)*data++) * 0x100000001b3;
    return hash;
}

static int mapped_alike(int file, size_t length, uint64_t expected)
{
    size_t whole = (length + 4095) & ~(size_t)4095;
    char *seen = mmap(NULL, whole, PROT_READ, MAP_SHARED, file, 0);
    char *own = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    int alike;

    if (seen == MAP_FAILED || own == MAP_FAILED)
        return 0;
    for (size_t at = 0; at < length; at += 5000)
        own[at] ^= 1;
    alike = fnv(FNV_BEGIN, seen, length) == expected && fnv(FNV_BEGIN, own, length) != expected;
    for (size_t at = 0; at < length; at += 5000)
        own[at] ^= 1;
    alike = alike && fnv(FNV_BEGIN, own, length) == expected;
    for (size_t at = length; at < whole; at++)
        alike = alike && !seen[at] && !own[at];
    munmap(seen, whole);
    munmap(own, whole);
    return alike;
}

static int sent_alike(int file, uint64_t expected)
{
    uint64_t hash = FNV_BEGIN;
    int ends[2];
    off_t at = 0;
    ssize_t sent, got, part;

    if (pipe(ends))
        return 0;
    while ((sent = sendfile(ends[1], file, &at, 30000)) > 0)
        for (got = 0; got < sent; got += part) {
            if ((part = read(ends[0], buffer, sent - got)) <= 0)
                return 0;
            hash = fnv(hash, buffer, part);
        }
    close(ends[0]);
    close(ends[1]);
    return !sent && hash == expected;
}

static uint64_t content(const char *path, const struct stat *found)
{
    uint64_t hash = FNV_BEGIN;
    ssize_t length = 0;
    int file;

    if (S_ISLNK(found->st_mode)) {
        length = readlink(path, buffer, sizeof buffer);
        return fnv(hash, buffer, length > 0 ? length : 0);
    }
    if (!S_ISREG(found->st_mode))
        return hash;
    file = open(path, O_RDONLY);
    while (file >= 0 && (length = read(file, buffer, sizeof buffer)) > 0)
        hash = fnv(hash, buffer, length);
    if (file < 0 || length < 0 || !sent_alike(file, hash))
        hash = 0;
    if (hash && found->st_size && !mapped_alike(file, found->st_size, hash))
        hash = 0;
    close(file);
    return hash;
}

/* The hash goes on over the extended attributes that the tests give. */
static uint64_t attributes(const char *path, uint64_t hash)
{
    static const char *const names[] = { "security.capability", "user.note" };

    for (size_t name = 0; name < sizeof names / sizeof *names; name++) {
        ssize_t length = lgetxattr(path, names[name], buffer, sizeof buffer);

        if (length > 0)
            hash = fnv(hash, buffer, length);
    }
    return hash;
}

static int show(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    const char *below = path[root_length] ? path + root_length : "/";

    (void)kind, (void)place;
    printf("walk: %o %u %u %lld %u:%u %016llx %s\n", found->st_mode, found->st_uid, found->st_gid,
           (long long)found->st_mtime, major(found->st_rdev), minor(found->st_rdev),
           (unsigned long long)attributes(path, content(path, found)), below);
    return 0;
}

int main(void)
{
    const char *type = getenv("walk"), *root = "/tree";

    open_console();
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    if (type && strcmp(type, "initramfs") && strcmp(type, "memory")) {
        root = "/disk";
        if (mount("/dev/vda", root, type, MS_RDONLY, NULL))
            perror("walk: mount");
    }
    root_length = strlen(root);
    if (nftw(root, show, 16, FTW_PHYS))
        perror("walk: nftw");
    printf("walk: end\n");
    fflush(stdout);
    tcdrain(1); /* the kernel writes its last words at once */
    sync();
    reboot(RB_AUTOBOOT);
    return 0;
}
