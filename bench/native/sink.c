/* Reads its standard input to the end and keeps nothing, 64 KiB at a time. */
#include <unistd.h>

static char block[65536];

int main(void)
{
    while (read(0, block, sizeof block) > 0)
        ;
    return 0;
}
