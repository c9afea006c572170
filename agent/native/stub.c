/* The last steps of a container's process, when nothing of the engine may be in it any more: system calls from a list that
 * engine/child/exec-stub.ts makes, one after the other. Stands alone at a fixed address (image-builder/agent), without a C library. See struct step.
 */
typedef unsigned long u64;
typedef long i64;

struct step {
    u64 nr;                /* the system call; the numbers differ by architecture, the order of arguments does not */
    u64 arg[6];
    unsigned char results;   /* bit j: arg[j] is the number of a result */
    unsigned char addresses; /* bit j: arg[j] is the number of a result whose address is meant */
    unsigned char flags;
    unsigned char kind;      /* told with the errno when the step fails */
    unsigned next;           /* BRANCH: where a result of 0 goes on */
};
enum { OPTIONAL = 1, ZERO_ENDS = 2, BRANCH = 4 };

struct head { u64 channel; const struct step *steps; };
#define HEAD ((const struct head *)0x10078)

enum { GIVEN = 3, RESULTS = 64 };
#ifdef __x86_64__
enum { WRITE = 1, EXIT_GROUP = 231 };
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
static i64 call(u64 nr, const u64 *a)
{
    register u64 r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    i64 r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return r;
}
#else
enum { WRITE = 64, EXIT_GROUP = 94 };
__asm__(".globl _start\n_start: mov x0, sp\n b run\n");
static i64 call(u64 nr, const u64 *a)
{
    register u64 x8 __asm__("x8") = nr, x0 __asm__("x0") = a[0], x1 __asm__("x1") = a[1], x2 __asm__("x2") = a[2], x3 __asm__("x3") = a[3], x4 __asm__("x4") = a[4], x5 __asm__("x5") = a[5];
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#endif

/* `stack`: argc, "stub", the path of the program, its argv, NULL, its envp, NULL, as execve(2) leaves it. */
__attribute__((noreturn, used)) void run(u64 *stack)
{
    u64 r[RESULTS];
    r[0] = stack[2];
    r[1] = (u64)(stack + 3);
    r[2] = (u64)(stack + stack[0] + 2);
    for (unsigned at = 0;;) {
        const struct step *s = &HEAD->steps[at];
        u64 a[6];
        for (int j = 0; j < 6; j++)
            a[j] = s->results >> j & 1 ? r[s->arg[j]] : s->addresses >> j & 1 ? (u64)&r[s->arg[j]] : s->arg[j];
        i64 x = call(s->nr, a);
        r[GIVEN + at] = x;
        if ((x < 0 && !(s->flags & OPTIONAL)) || (x == 0 && s->flags & ZERO_ENDS)) {
            unsigned char failed[3] = { 0, -x, s->kind };
            u64 tell[6] = { HEAD->channel, (u64)failed, 3, 0, 0, 0 }, leave[6] = { 127, 0, 0, 0, 0, 0 };
            if (x < 0)
                call(WRITE, tell);
            for (;;)
                call(EXIT_GROUP, leave);
        }
        at = x == 0 && s->flags & BRANCH ? s->next : at + 1;
    }
}
