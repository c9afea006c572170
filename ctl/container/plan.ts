// From an opened image and the user's wishes to everything the agent is asked for: sandbox, storages, spec. Pure but for
// reading the image's passwd file. It treats a bundle's spec as the Kata runtime does before it sends it.
import type { Input } from "../client/agent-client.js";
import type { CreateContainerRequest, CreateSandboxRequest, Spec, Storage } from "../client/gen/messages.js";
import { schema } from "../client/schema.js";
import type { Json } from "../client/exact-json.js";
import { DISK_FSTYPE } from "../image/make-disk.js";
import type { OpenedImage } from "../image/open-image.js";
import { ImageError } from "../image/tree.js";
import { cpuLimit, defaultSpec, SHM_PATH } from "./default-spec.js";
import { toMessage } from "./to-message.js";
import { resolveUser } from "./users.js";

export interface Wishes {
  /** Command and arguments; empty: those of the image. */
  command: string[];
  /** NAME=value, later ones win over earlier ones and over the image's. */
  env: string[];
  workdir?: string | undefined;
  user?: string | undefined;
  terminal: boolean;
  memory?: number | undefined;
  cpus?: number | undefined;
}

export interface ContainerPlan {
  sandbox: Input<CreateSandboxRequest>;
  container: Input<CreateContainerRequest>;
  /** Things in a bundle's spec that the protocol cannot carry. */
  ignored: string[];
}

const BASE = "/run/kata-containers";
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Environment lists laid over each other, later values winning; the order of first appearance is kept. */
export const mergeEnv = (...lists: string[][]): string[] => {
  const merged = new Map<string, string>();
  for (const entry of lists.flat()) merged.set(entry.split("=", 1)[0] ?? "", entry);
  return [...merged.values()];
};

/** The command to run. Throws ImageError when neither the user nor the image names one. */
export const commandOf = (image: OpenedImage, command: string[]): string[] => {
  const args = command.length > 0 ? [...image.config.entrypoint, ...command] : [...image.config.entrypoint, ...image.config.cmd];
  if (args.length === 0) throw new ImageError("the image names no command: give one after --");
  return args;
};

const NAMESPACES_KEPT = new Set(["ipc", "uts", "mount", "user"]);

// The Kata runtime clears what has no meaning in the guest: these namespaces, host paths of others, host devices, block I/O.
const asKataSends = (spec: Spec): Spec => {
  const linux = spec.linux;
  if (linux === undefined) return spec;
  const resources = linux.resources;
  return {
    ...spec,
    linux: {
      ...linux,
      namespaces: (linux.namespaces ?? []).filter((ns) => NAMESPACES_KEPT.has(ns.type)).map((ns) => ({ type: ns.type, path: "" })),
      ...(resources === undefined ? {} : { resources: withoutHostParts(resources) }),
    },
  };
};

type Resources = NonNullable<NonNullable<Spec["linux"]>["resources"]>;

const withoutHostParts = ({ devices: _devices, blockIO: _block, network: _network, ...rest }: Resources): Resources => rest as Resources;

// What the user asks for besides the command wins over config.json, as it does over an image's configuration.
const limitsOf = (resources: Resources | undefined, wishes: Wishes): Resources | undefined => {
  const memory = wishes.memory === undefined ? {} : { memory: { ...resources?.memory, limit: wishes.memory } };
  const cpu = wishes.cpus === undefined ? {} : { cpu: { ...resources?.cpu, ...cpuLimit(wishes.cpus) } };
  return resources === undefined && wishes.memory === undefined && wishes.cpus === undefined ? undefined : ({ ...resources, ...memory, ...cpu } as Resources);
};

const bundleSpec = (image: OpenedImage, json: { [key: string]: Json }, id: string, rootPath: string, wishes: Wishes): { spec: Input<Spec>; ignored: string[] } => {
  const { value, unknown } = toMessage(schema().root.lookupType("grpc.Spec"), json);
  const spec = asKataSends(value as unknown as Spec);
  const process = spec.process;
  if (process === undefined) throw new ImageError("config.json has no process");
  const bind = spec.mounts?.find((mount) => mount.type === "bind" || mount.options?.some((option) => option === "bind" || option === "rbind"));
  if (bind !== undefined) throw new ImageError(`config.json binds ${bind.source} of the host on ${bind.destination}: host folders are not given to this VM`);
  const args = wishes.command.length > 0 ? wishes.command : process.args;
  if ((args ?? []).length === 0) throw new ImageError("config.json has no process.args: give a command after --");
  const linux: Input<Spec>["linux"] = { ...spec.linux, cgroupsPath: spec.linux?.cgroupsPath || `/katactl/${id}` };
  const resources = limitsOf(spec.linux?.resources, wishes);
  const user = wishes.user === undefined ? undefined : resolveUser(image.tree, wishes.user);
  return {
    spec: {
      ...spec,
      root: { path: rootPath, readonly: spec.root?.readonly ?? false },
      process: {
        ...process, args, terminal: wishes.terminal, env: mergeEnv(process.env ?? [], wishes.env), cwd: wishes.workdir ?? (process.cwd || "/"),
        ...(user === undefined ? {} : { user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids } }),
      },
      linux: { ...linux, ...(resources === undefined ? {} : { resources }) },
    },
    ignored: unknown,
  };
};

const imageSpec = (image: OpenedImage, id: string, rootPath: string, wishes: Wishes): Input<Spec> => {
  const user = resolveUser(image.tree, wishes.user ?? image.config.user);
  const base = [PATH, `HOSTNAME=${id}`, `HOME=${user.home}`, ...(wishes.terminal ? ["TERM=xterm"] : [])];
  return defaultSpec({
    id, rootPath, args: commandOf(image, wishes.command), env: mergeEnv(base, image.config.env, wishes.env),
    workdir: wishes.workdir ?? (image.config.workdir || "/"), user, terminal: wishes.terminal, hostname: id, memory: wishes.memory, cpus: wishes.cpus,
  });
};

/** Lower layer from the disk, upper layer in the guest's memory, both joined as the container's root. */
export const rootStorages = (id: string, disk: string, rootPath: string): Input<Storage>[] => {
  const layers = `${BASE}/sandbox/layers/${id}`;
  return [
    { driver: "blk", source: disk, fstype: DISK_FSTYPE, options: ["ro"], mountPoint: `${layers}/lower` },
    {
      driver: "overlayfs", source: "overlay", fstype: "overlay", mountPoint: rootPath,
      options: [`lowerdir=${layers}/lower`, `upperdir=${layers}/upper`, `workdir=${layers}/work`],
      driverOptions: ["upper", "work"].map((name) => `io.katacontainers.volume.overlayfs.create_directory=${layers}/${name}`),
    },
  ];
};

/** All requests for one container whose root is on the guest's disk `disk` (for instance /dev/vda). */
export const planContainer = (image: OpenedImage, id: string, disk: string, wishes: Wishes): ContainerPlan => {
  const rootPath = `${BASE}/${id}/rootfs`;
  const { spec, ignored } = image.spec === undefined ? { spec: imageSpec(image, id, rootPath, wishes), ignored: [] } : bundleSpec(image, image.spec, id, rootPath, wishes);
  return {
    sandbox: {
      sandboxId: id, hostname: id,
      storages: [{ driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"], mountPoint: SHM_PATH }],
    },
    container: { containerId: id, execId: id, storages: rootStorages(id, disk, rootPath), oci: spec },
    ignored,
  };
};
