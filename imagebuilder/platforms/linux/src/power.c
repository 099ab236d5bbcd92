/* Whether the kernel can switch this machine off. One that cannot halts instead when it is asked to, for ever. */
#include "init.h"

#include <fcntl.h>
#include <unistd.h>

enum { MOST_TABLES = 32 };

/* Whether a table names "soft off" (ACPI 6.5, 7.4.2.6), as it does where the machine has it. */
static bool has_soft_off(int folder, const char *table)
{
    static const char STATE[] = "_S5_";
    char data[1024];
    int fd = openat(folder, table, O_RDONLY | O_CLOEXEC);
    size_t same = 0;

    for (ssize_t size; fd >= 0 && (size = read(fd, data, sizeof data)) > 0;)
        for (ssize_t i = 0; i < size && STATE[same]; i++)
            same = data[i] == STATE[same] ? same + 1 : data[i] == *STATE;
    if (fd >= 0)
        close(fd);
    return !STATE[same];
}

bool can_power_off(void)
{
    int sys, folder;
    bool found;

    if (access("/proc/acpi", F_OK) || (sys = sysfs_open()) < 0)
        return false;  /* the kernel uses no ACPI, and nothing else here powers off */
    folder = openat(sys, "firmware/acpi/tables", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    found = has_soft_off(folder, "DSDT") || has_soft_off(folder, "SSDT");
    for (int i = 1; i < MOST_TABLES && !found; i++) {  /* as Linux numbers more than one (drivers/acpi/sysfs.c) */
        struct text table = {0};
        text_join(&table, "SSDT", DIGITS(i), NULL);
        found = has_soft_off(folder, table.s);
    }
    return found;
}
