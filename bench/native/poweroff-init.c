/* The floor under vm_ready_ms and boot_minstr: an init that only ends the machine. A restart ends it on every machine type. */
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}
