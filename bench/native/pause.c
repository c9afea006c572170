/* An idle container's program: waits until it is killed. */
#include <signal.h>
#include <unistd.h>

int main(void)
{
    signal(SIGTERM, _exit);
    for (;;)
        pause();
}
