/* Has an eventfd(2) that counts 1 nearly always, the last of many, and says through the socket in argv whether the 1
 * was still there. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { OTHERS = 200 };

static int wire;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *count(void *nothing)
{
    int fd = -1;
    for (int i = 0; i <= OTHERS; i++)
        fd = eventfd(0, EFD_NONBLOCK);
    for (uint64_t one = 1;; one = 1) {
        if (write(fd, &one, sizeof one) < 0)
            return nothing;
        for (double until_s = now_s() + 20e-6; now_s() < until_s;)
            continue;
        char kept = read(fd, &one, sizeof one) == sizeof one && one == 1 ? 'k' : 'l';
        send(wire, &kept, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

int main(int count_of_words, char **words)
{
    pthread_t thread;
    wire = count_of_words > 1 ? atoi(words[1]) : -1;
    pthread_create(&thread, NULL, count, NULL);
    for (;;)
        pause();
}
