// Fields of requests that have no effect say so when they are set: in one line, once for each container, and never when they are not set.
import { beforeAll, expect, it } from "vitest";
import { sandboxRequest } from "../helpers/guest.js";
import type { Lab} from "../helpers/lab.js";
import { labs,  outcome, until, type Json } from "../helpers/lab.js";
import { suite } from "../helpers/suite.js";

suite("request fields without effect", { needs: ["agent"], fixture: labs() }, (use) => {
  let lab: Lab;
  beforeAll(() => {
    lab = use();
  });

  /** The lines that there are, once a later one has come. */
  const lines = async (): Promise<Json[]> => {
    const mark = `mark${lab.name()}`;
    await outcome(lab.client.startContainer({ containerId: mark }));
    await outcome(lab.client.call("AddSwapPath" as never, { path: `/${mark}` } as never)); // it fails, which is said with its path
    await until("the log has come to here", () => lab.agent.log().includes(mark));
    return lab.agent.log().split("\n").filter((line) => line.includes("without effect")).map((line) => JSON.parse(line) as Json);
  };
  const exec = (id: string, more: Json): Promise<unknown> =>
    lab.client.execProcess({ containerId: id, execId: lab.name(), process: { args: ["true"], env: ["PATH=/bin"], cwd: "/", user: {} }, ...more } as never);

  it("are told once for each container", async () => {
    const plain = await lab.up();
    await exec(plain, {});
    expect(await lines()).toEqual([]);
    const id = lab.name();
    const request = lab.request(id, ["sleep", "1000"]) as Json;
    await lab.client.createContainer({ ...request, sharedMounts: [{ name: "x" }], stdinPort: 1000, stringUser: { uid: "5" } } as never);
    await lab.client.startContainer({ containerId: id });
    for (let i = 0; i < 3; i++) await exec(id, { stdoutPort: 7, stderrPort: 8 });
    await exec(plain, { stringUser: { uid: "" } }); // says nothing
    expect((await lines()).map(({ msg, level, cid }) => [level, msg, cid])).toEqual([
      ["WARN", "CreateContainer: accepted without effect in this agent: string_user, shared_mounts, stdin_port", id],
      ["WARN", "ExecProcess: accepted without effect in this agent: stdout_port, stderr_port", id],
    ]);
    await lab.remove(id);
    await lab.remove(plain);
  });
  it("are told for the sandbox", async () => {
    await lab.client.createSandbox({ ...(sandboxRequest("lab", false) as Json), guestHookPath: "/usr/share/oci/hooks" } as never);
    expect((await lines()).at(-1)).toMatchObject({ level: "WARN", msg: "CreateSandbox: accepted without effect in this agent: guest_hook_path" });
  });
});
