/* The kernel's command line, and the addresses in it. */
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct boot boot;
    struct lease lease;
    char *copy = copy_of(data, size, 1), *more = copy_of(data, size, 1);

    boot_read(&boot, copy);
    boot_add(&boot, more);
    if (boot.ip && lease_read(&lease, boot.ip))
        MUST(lease.mask && lease.dns_count >= 0 && lease.dns_count <= MOST_DNS);
    free(copy);
    free(more);
    return 0;
}
