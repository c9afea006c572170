// `make soak`: 10,000 containers by the agent and 300 by the command line, with progress. Ends with 1 when something was left or
// the agent has grown. Interrupted, it removes what is there and says how far it came.
import { soakAgent, soakCommandLine } from "./rounds.js";
import { wholeProcess } from "../../ctl/lifetime.js";
import { whyNot } from "../helpers/private-agent.js";

const GROWTH_KB = 64;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

const progressOf = (what: string, rounds: number): ((round: number) => void) => {
  const begun = Date.now();
  return (round) => {
    if (round % Math.ceil(rounds / 20) !== 0) return;
    say(`${what}: ${round} of ${rounds}, ${((Date.now() - begun) / round).toFixed(1)} ms each`);
  };
};

const soak = async (rounds: number, commands: number): Promise<number> => {
  const why = whyNot();
  if (why !== undefined) throw new Error(why);
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort()).once("SIGTERM", () => stop.abort());
  const faults: string[] = [];
  if (rounds > 0) {
    const agent = await soakAgent({ rounds, stop: stop.signal, progress: progressOf("agent", rounds) });
    say(`agent: ${agent.rounds} rounds, ${agent.early} kB anonymous memory after the first hundred, ${agent.late} kB at the end`);
    faults.push(...agent.left);
    if (agent.late > agent.early + GROWTH_KB) faults.push(`the agent has grown by ${agent.late - agent.early} kB`);
  }
  if (commands > 0 && !stop.signal.aborted) {
    const line = await soakCommandLine({ rounds: commands, stop: stop.signal, progress: progressOf("command line", commands) });
    say(`command line: ${line.rounds} rounds`);
    faults.push(...line.left);
  }
  for (const fault of faults) say(`LEFT: ${fault}`);
  if (stop.signal.aborted) say("interrupted");
  else if (faults.length === 0) say("nothing left");
  return faults.length > 0 || stop.signal.aborted ? 1 : 0;
};

wholeProcess(() => soak(Number(process.argv[2] ?? 10_000), Number(process.argv[3] ?? 300)), { failed: 2, say, text: (error) => `soak: ${error instanceof Error ? error.message : String(error)}` });
