// PID 1 raises what containers share with it; a file that is not there stops neither the others nor the boot.
import { FakeKernel } from "../../helpers/fake-kernel.js";
import { expect, it } from "vitest";

const kernel = new FakeKernel();
const { setLevel } = await import("../../../agent/lib/log.js");
const { raiseQuotas } = await import("../../../agent/init/quotas.js");

it("each quota that there is is written, whatever the others say", () => {
  setLevel(-1 as never);
  const written = new Map<string, string>();
  const paths = new Map<number, string>();
  kernel.on["openat"] = ([, path]) => {
    if (String(path).includes("inotify")) return -2;
    const n = kernel.make("sysctl");
    paths.set(n, String(path));
    return n;
  };
  kernel.on["write"] = ([n, bytes]) => {
    const path = paths.get(n as number) as string;
    if (path.endsWith("/pid_max")) return -22;
    written.set(path, Buffer.from(bytes as Uint8Array).toString());
    return undefined;
  };
  raiseQuotas();
  expect(Object.fromEntries(written)).toMatchObject({
    "/proc/sys/fs/epoll/max_user_watches": "9223372036854775807", "/proc/sys/fs/file-max": "9223372036854775807",
    "/proc/sys/kernel/threads-max": "4194304", "/proc/sys/user/max_user_namespaces": "2147483647", "/proc/sys/user/max_mnt_namespaces": "2147483647",
  });
  expect(kernel.open()).toEqual([]);
});
