// Placeholder until the VM part is written.
import type { Group, Key, Results } from "./keys.js";
import type { Tools } from "./native-tools.js";

export interface VmOptions {
  readonly dist: string;
  readonly tools: Tools;
  readonly groups: ReadonlySet<Group>;
  readonly progress: (text: string) => void;
  readonly failed: (keys: readonly Key[], why: string) => void;
}

export const measureVm = async (o: VmOptions): Promise<Results> => {
  o.failed(["vm_ready_ms"], "not written");
  return {};
};
