/* Which pages of the application's files a start uses: the host asks once, and later images have just these read ahead.
 * docs/start-up.md tells what it gives. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/fs.h> is not among the C library's headers. */
enum { BLKRASET = 0x1262 };
enum { PAGE_BYTES = 4096, LINE_BYTES = 256 };

void learn_begin(const char *disk)
{
    int fd = open(disk, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || ioctl(fd, BLKRASET, 0))
        FAIL("ib.learn=", disk, ": ", REASON);
    close(fd);
}

/* `pages NUMBER FIRST COUNT FIRST COUNT …`, in as many lines as it takes. */
static void file_tell(int number, const unsigned char *mapped, size_t pages)
{
    struct text line = {0};
    long long count = 0;

    for (size_t page = 0; page <= pages; page++) {
        unsigned char in_memory = 0;
        if (page < pages && !mincore((void *)(mapped + page * PAGE_BYTES), 1, &in_memory) && in_memory & 1) {
            count++;
            continue;
        }
        if (count)
            text_join(&line, " ", DIGITS((long long)page - count), " ", DIGITS(count), NULL);
        count = 0;
        if (line.used > (page < pages ? LINE_BYTES : 0)) {
            LINE("pages ", DIGITS(number), line.s);
            channel_drain();
            line.used = 0;
        }
    }
}

void learn_tell(const struct conf *conf)
{
    for (int i = 0; i < conf->aheads; i++) {
        struct stat file;
        int fd = open(conf->ahead[i].path, O_RDONLY | O_CLOEXEC);
        size_t size = fstat(fd, &file) ? 0 : (size_t)file.st_size;
        /* Not by the C library, whose mmap knows more than is needed. A machine that learns ends soon. */
        long mapped = syscall(SYS_mmap, 0, size, PROT_READ, MAP_SHARED, fd, 0);
        if (mapped > 0)
            file_tell(i, (const unsigned char *)mapped, (size + PAGE_BYTES - 1) / PAGE_BYTES);
        close(fd);
    }
}
