/* Lines without printf: musl's brings 10 KB of floating point along. */
#include "init.h"

#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CLOCK_READS = 8 };  /* each takes 50 ns at least: a good clock goes on meanwhile */

void text_add(struct text *text, const char *more)
{
    while (*more && text->used < sizeof text->s - 1)
        text->s[text->used++] = *more++;
    text->s[text->used] = '\0';
}

void text_join(struct text *text, ...)
{
    va_list words;
    va_start(words, text);
    for (const char *word; (word = va_arg(words, const char *));)
        text_add(text, word);
    va_end(words);
}

struct digits digits(long long number)
{
    struct digits result;
    char reversed[24];
    size_t count = 0, used = 0;
    unsigned long long rest = number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number;

    do
        reversed[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        result.s[used++] = '-';
    while (count)
        result.s[used++] = reversed[--count];
    result.s[used] = '\0';
    return result;
}

bool number_read(const char *s, unsigned long long most, unsigned long long *number)
{
    unsigned long long value = 0;

    if (!*s)
        return false;
    for (; *s; s++) {
        unsigned digit = (unsigned char)*s - '0';
        if (digit > 9 || value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

/* By the call: a handful of times is not worth looking through the kernel's own library for a faster one. */
long long now_ns(void)
{
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

long long clock_step_ns(void)
{
    struct timespec tick = {0};
    long long least_ns = 0, last_ns = now_ns();

    for (int i = 0; i < CLOCK_READS; i++) {
        long long here_ns = now_ns(), step_ns = here_ns - last_ns;
        if (step_ns && (!least_ns || step_ns < least_ns))  /* a larger one: the host had other things to do */
            least_ns = step_ns;
        last_ns = here_ns;
    }
    if (!least_ns)  /* it stands still: the kernel has no clock but its tick */
        clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
    return least_ns + tick.tv_nsec;
}
