/* Leaves a mark that the application finds when it goes on. */
#include <stdio.h>

int main(void)
{
    FILE *mark = fopen("/mark", "w");
    return !mark || fputs("hooked", mark) < 0 || fclose(mark);
}
