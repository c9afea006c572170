// Owns the question whether a container costs more to create when many are there already: 500 alive at once, the median of the
// last 20 creates over that of the first 20; by the agent, and by our command line.
import { writePauseBundle } from "./bundle.js";
import { commandLines } from "./command-lines.js";
import type { Session } from "./session.js";
import { median, rounded } from "./stats.js";

const CROWD = 500;
const EDGE = 20;

const ratio = (took: readonly number[]): number => rounded(median(took.slice(-EDGE)) / median(took.slice(0, EDGE)), 2);

/** One container comes and goes first, so that code which is loaded once is not in the first ones' time. */
const byAgent = async (s: Session): Promise<void> => {
  const pid = await s.startAgent();
  await s.driver.do("sequence", "agent", s.id(), "create-pause", "start", "kill", "wait", "remove");
  const ids = Array.from({ length: CROWD }, s.id);
  const took: number[] = [];
  for (const id of ids) took.push((await s.driver.do("sequence", "agent", id, "create-pause", "start"))[1] ?? NaN);
  for (const id of ids) await s.driver.do("sequence", "agent", id, "kill", "wait", "remove");
  await s.endAgent(pid);
  s.results.create_500_ratio = ratio(took);
};

/** Created and not started: each waits for its start. */
const byCommandLine = async (s: Session, program: string): Promise<void> => {
  const words = commandLines(s.path("crowd"), { oci: program })[0]?.words ?? [];
  const command = (...more: string[]): Promise<number> => s.driver.one("run", s.path("commands.log"), ...words, ...more);
  const ids = Array.from({ length: CROWD + EDGE }, s.id);
  const bundles = ids.map((id) => writePauseBundle(s.bundle, id));
  for (let i = 0; i < EDGE; i++) {
    await command("create", "--bundle", bundles[i] as string, ids[i] as string);
    await command("delete", "--force", ids[i] as string);
  }
  const took: number[] = [];
  for (let i = EDGE; i < ids.length; i++) took.push(await command("create", "--bundle", bundles[i] as string, ids[i] as string));
  for (const id of ids.slice(EDGE)) await command("delete", "--force", id);
  s.results.oci_create_500_ratio = ratio(took);
};

/** The keys of the group crowd. */
export const crowd = async (s: Session): Promise<void> => {
  s.o.progress(`${CROWD} containers at once`);
  await s.guard(["create_500_ratio"], () => byAgent(s));
  const { oci } = s.o.runtimes;
  if (oci !== undefined) await s.guard(["oci_create_500_ratio"], () => byCommandLine(s, oci));
};
