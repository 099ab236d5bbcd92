/* What the command changed: the upper folder of the overlay as a tar stream (ustar, with a pax header in front where a
 * name, an owner or extended attributes need one). A removed file is a character device 0:0, a folder that hides all of
 * the one below it has the attribute trusted.overlay.opaque. */
#include "prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { OUT_BYTES = 1 << 20, MOST_XATTRS = 1 << 16, MOST_PAX = 1 << 18, MOST_OCTAL_ID = 07777777, SHORT_NAME = 99, LONGEST_XATTR = 255 };

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
    char magic[8], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK_BYTES, "a header of tar is one block");

struct stream { int device; long long written, members; size_t used; char *out; };

static void flush(struct stream *s)
{
    for (size_t done = 0; done < s->used;) {
        ssize_t size = write(s->device, s->out + done, s->used - done);
        if (size <= 0)
            fail(errno == ENOSPC || !size ? "what the command changed is more than there is room for: %lld MiB"
                                          : "cannot write what the command changed after %lld MiB",
                 s->written >> 20);
        done += (size_t)size;
    }
    s->written += (long long)s->used;
    s->used = 0;
}

static void put(struct stream *s, const void *data, size_t size)
{
    while (size) {
        size_t part = size < OUT_BYTES - s->used ? size : OUT_BYTES - s->used;
        memcpy(s->out + s->used, data, part);
        s->used += part;
        data = (const char *)data + part;
        size -= part;
        if (s->used == OUT_BYTES)
            flush(s);
    }
}

static void pad(struct stream *s, long long size)
{
    static const char ZEROS[BLOCK_BYTES];

    put(s, ZEROS, (size_t)(-size & (BLOCK_BYTES - 1)));
}

static void header_put(struct stream *s, const char *name, const char *target, const struct stat *st, char type,
                       long long size)
{
    struct header h = {.type = type, .magic = "ustar"};
    unsigned sum = 0;

    memcpy(h.magic + 6, "00", 2);
    strncpy(h.name, name, sizeof h.name);
    strncpy(h.link, target, sizeof h.link);
    snprintf(h.mode, sizeof h.mode, "%07o", (unsigned)st->st_mode & 07777);
    snprintf(h.uid, sizeof h.uid, "%07o", st->st_uid > MOST_OCTAL_ID ? 0u : (unsigned)st->st_uid);
    snprintf(h.gid, sizeof h.gid, "%07o", st->st_gid > MOST_OCTAL_ID ? 0u : (unsigned)st->st_gid);
    snprintf(h.size, sizeof h.size, "%011llo", size);
    snprintf(h.mtime, sizeof h.mtime, "%011o", 0u);
    snprintf(h.major, sizeof h.major, "%07o", major(st->st_rdev));
    snprintf(h.minor, sizeof h.minor, "%07o", minor(st->st_rdev));
    memset(h.sum, ' ', sizeof h.sum);
    for (size_t i = 0; i < sizeof h; i++)
        sum += ((unsigned char *)&h)[i];
    snprintf(h.sum, sizeof h.sum - 1, "%06o", sum);
    put(s, &h, sizeof h);
}

/* A record of a pax header begins with its own length, digits and all. */
static size_t record_add(char *pax, size_t used, const char *key, const char *value, size_t size)
{
    size_t rest = strlen(key) + size + 3, length = rest + 1;
    char digits[24];

    while ((size_t)snprintf(digits, sizeof digits, "%zu", length) + rest != length)
        length = (size_t)snprintf(digits, sizeof digits, "%zu", length) + rest;
    if (used + length > MOST_PAX)
        fail("a file has more extended attributes than there is room for");
    used += (size_t)sprintf(pax + used, "%s %s=", digits, key);
    memcpy(pax + used, value, size);
    used += size;
    pax[used++] = '\n';
    return used;
}

/* Attributes that overlayfs keeps for itself are not of the file. */
static bool is_ours(const char *name)
{
    return strncmp(name, "trusted.overlay.", 16) && strncmp(name, "user.overlay.", 13);
}

static size_t xattrs_add(char *pax, size_t used, const char *path)
{
    static char names[MOST_XATTRS], value[MOST_XATTRS];
    ssize_t size = llistxattr(path, names, sizeof names);

    for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        char key[LONGEST_XATTR + 16];
        ssize_t length = lgetxattr(path, name, value, sizeof value);
        if (length < 0 || !(is_ours(name) || (!strcmp(name, "trusted.overlay.opaque") && *value == 'y')))
            continue;
        snprintf(key, sizeof key, "SCHILY.xattr.%.255s", name);
        used = record_add(pax, used, key, value, (size_t)length);
    }
    return used;
}

static void member_put(struct stream *s, const char *name, const char *target, const struct stat *st, char type,
                       const char *path)
{
    static char pax[MOST_PAX];
    char number[24];
    size_t used = 0;

    if (strlen(name) > SHORT_NAME)
        used = record_add(pax, used, "path", name, strlen(name));
    if (strlen(target) > SHORT_NAME)
        used = record_add(pax, used, "linkpath", target, strlen(target));
    if (st->st_uid > MOST_OCTAL_ID)
        used = record_add(pax, used, "uid", number, (size_t)sprintf(number, "%u", (unsigned)st->st_uid));
    if (st->st_gid > MOST_OCTAL_ID)
        used = record_add(pax, used, "gid", number, (size_t)sprintf(number, "%u", (unsigned)st->st_gid));
    if (type == '0' || type == '5')
        used = xattrs_add(pax, used, path);
    if (used) {
        header_put(s, "pax", "", &(struct stat){.st_mode = 0644}, 'x', (long long)used);
        put(s, pax, used);
        pad(s, (long long)used);
    }
    header_put(s, name, target, st, type, type == '0' ? st->st_size : 0);
    s->members++;
}

static void content_put(struct stream *s, const char *path, long long size)
{
    static char data[1 << 16];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    long long left = size;

    while (left > 0) {
        ssize_t got = read(fd, data, left < (long long)sizeof data ? (size_t)left : sizeof data);
        if (got <= 0)
            fail("cannot read %s, which the command wrote", path);
        put(s, data, (size_t)got);
        left -= got;
    }
    close(fd);
    pad(s, size);
}

static bool is_skipped(const struct orders *orders, const char *path)
{
    for (int i = 0; i < orders->skips; i++)
        if (!strcmp(path, orders->skip[i]))
            return true;
    return false;
}

static void folder_put(struct stream *s, char *path, const struct orders *orders);

/* `path` stands below the upper folder, in which we are: "./etc/passwd". */
static void entry_put(struct stream *s, char *path, const struct orders *orders)
{
    static const char TYPES[] = {[S_IFREG >> 12] = '0', [S_IFLNK >> 12] = '2', [S_IFCHR >> 12] = '3',
                                 [S_IFBLK >> 12] = '4', [S_IFDIR >> 12] = '5', [S_IFIFO >> 12] = '6'};
    char target[MOST_PATH] = "";
    struct stat st;

    if (is_skipped(orders, path + 1) || lstat(path, &st) || S_ISSOCK(st.st_mode))
        return;
    if (S_ISLNK(st.st_mode) && readlink(path, target, sizeof target - 1) < 0)
        fail("cannot read the link %s, which the command made", path + 1);
    if (S_ISREG(st.st_mode) && st.st_size >= 1LL << 33)
        fail("%s is larger than 8 GiB", path + 1);
    member_put(s, path + 2, target, &st, TYPES[st.st_mode >> 12 & 15], path);
    if (S_ISREG(st.st_mode))
        content_put(s, path, st.st_size);
    if (S_ISDIR(st.st_mode))
        folder_put(s, path, orders);
}

static void folder_put(struct stream *s, char *path, const struct orders *orders)
{
    size_t length = strlen(path);
    DIR *folder = opendir(path);
    struct dirent *entry;

    if (!folder)
        fail("cannot open the folder %s: %s", path + 1, strerror(errno));
    while ((entry = readdir(folder))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (length + strlen(entry->d_name) + 2 > MOST_PATH)
            fail("a path below %s is longer than %d bytes", path + 1, MOST_PATH);
        sprintf(path + length, "/%s", entry->d_name);
        entry_put(s, path, orders);
        path[length] = '\0';
    }
    closedir(folder);
}

long long changes_write(int device, int upper, const struct orders *orders, long long *members)
{
    static char out[OUT_BYTES], path[MOST_PATH + 1] = ".";
    static const char END[2 * BLOCK_BYTES];
    struct stream s = {.device = device, .out = out};

    if (fchdir(upper))
        fail("cannot enter what the command changed: %s", strerror(errno));
    folder_put(&s, path, orders);
    put(&s, END, sizeof END);
    flush(&s);
    *members = s.members;
    return s.written;
}
