/* Writes to its standard output without end, 64 KiB at a time. */
#include <unistd.h>

static char block[65536];

int main(void)
{
    while (write(1, block, sizeof block) > 0)
        ;
    return 0;
}
