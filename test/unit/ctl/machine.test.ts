// The QEMU command line and the kernel's words: what must be there for each kind of machine and wire, and what must not.
import { describe, expect, it } from "vitest";
import { kernelWords, qemuArgs, type Machine } from "../../../ctl/vm/machine.js";

const base: Machine = {
  type: "q35", accel: "tcg", memoryMiB: 256, cpus: 1, kernel: "/k", initrd: "/i", disks: [], wire: { kind: "serial", socket: "/s/serial.sock" }, append: ["a=1", "quiet"], extra: [],
};

const after = (args: string[], word: string): string[] => args.flatMap((arg, i) => (arg === word ? [args[i + 1] ?? ""] : []));

describe("QEMU arguments", () => {
  it("opens nothing that was not asked for", () => {
    const args = qemuArgs(base);
    expect(args).toContain("-nodefaults");
    expect(args).toContain("-no-reboot");
    expect(after(args, "-netdev")).toEqual([]);
    expect(after(args, "-append")).toEqual(["a=1 quiet"]);
    expect(after(args, "-accel")).toEqual(["tcg,thread=single"]);
  });

  it("shares memory exactly when a device's daemon needs it", () => {
    expect(after(qemuArgs(base), "-object")).toEqual([]);
    const vsock = qemuArgs({ ...base, wire: { kind: "vhost-user-vsock", socket: "/s/v" } });
    expect(after(vsock, "-object")).toEqual(["memory-backend-memfd,id=mem0,size=256M,share=on"]);
    expect(after(vsock, "-machine")[0]).toMatch(/,memory-backend=mem0$/);
    expect(after(vsock, "-device")).toContain("vhost-user-vsock-pci,chardev=vsock0");
    expect(after(qemuArgs({ ...base, virtiofs: { socket: "/s/f", tag: "kataShared" } }), "-device")).toContain("vhost-user-fs-pci,chardev=fs0,tag=kataShared,queue-size=1024");
  });

  it("opens a monitor only when somebody asks it", () => {
    expect(after(qemuArgs(base), "-qmp")).toEqual([]);
    expect(after(qemuArgs({ ...base, monitor: "/s/m,x" }), "-qmp")).toEqual(["unix:/s/m,,x,server=on,wait=off"]);
  });

  it("uses devices of the machine's own bus", () => {
    for (const [type, ending] of [["q35", "-pci"], ["microvm", "-device"]] as const) {
      const args = qemuArgs({ ...base, type, disks: [{ file: "/d", readOnly: true }], wire: { kind: "vhost-vsock", cid: 77 } });
      expect(after(args, "-device")).toEqual([`vhost-vsock${ending},guest-cid=77`, `virtio-blk${ending},drive=disk0,serial=disk0`]);
    }
  });

  it("keeps the order of disks as the guest counts them", () => {
    const disks = ["/a", "/b"].map((file) => ({ file, readOnly: false }));
    const order = (type: "q35" | "microvm"): string[] => after(qemuArgs({ ...base, type, disks }), "-drive").map((drive) => drive.split(",")[0] ?? "");
    expect(order("q35")).toEqual(["file=/a", "file=/b"]);
    expect(order("microvm")).toEqual(["file=/a", "file=/b"]);
  });

  it("cannot be led astray by commas in paths", () => {
    const args = qemuArgs({ ...base, disks: [{ file: "/d,readonly=off", readOnly: true }] });
    expect(after(args, "-drive")[0]).toMatch(/^file=\/d,,readonly=off,if=none,.*readonly=on$/);
  });
});

describe("kernel command line", () => {
  it("tells the agent where to listen", () => {
    expect(kernelWords({ type: "q35", wire: { kind: "serial", socket: "" }, append: [] })).toContain("agent.server_addr=serial:///dev/vport0p1");
    expect(kernelWords({ type: "q35", wire: { kind: "vhost-vsock", cid: 3 }, append: [] })).toContain("agent.server_addr=vsock://-1:1024");
  });
  it("names the root only when it is a disk", () => {
    expect(kernelWords({ type: "q35", wire: base.wire, append: [] }).join(" ")).not.toMatch(/root=/);
    expect(kernelWords({ type: "q35", wire: base.wire, rootFstype: "erofs", append: [] }).join(" ")).toMatch(/root=\/dev\/vda rootfstype=erofs ro .*init=\/sbin\/init/);
  });
  it("lets a word of the user replace ours", () => {
    const words = kernelWords({ type: "q35", wire: base.wire, append: ["console=hvc0", "agent.log=debug"] });
    expect(words.filter((word) => word.startsWith("console="))).toEqual(["console=hvc0"]);
    expect(words).toContain("agent.log=debug");
  });
});
