/* The application of the images that the tests measure: touch MIB of memory, wait MS, say so, then stay until asked to
 * end. With a third word, exit with that status instead of saying anything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words)
{
    size_t size = strtoul(words[1], NULL, 10) << 20;
    char *memory = malloc(size + 1);

    if (!memory)
        return 1;
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = (char)at;
    usleep(strtoul(words[2], NULL, 10) * 1000);
    if (count > 3)
        return atoi(words[3]);
    puts("here I am");
    fflush(stdout);
    pause();
    return memory[size];
}
