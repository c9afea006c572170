import { describe, expect, it } from "vitest";
import "../../helpers/fake-epoll.js";
import { blkioV1, ioStat, keyed } from "../../../agent/engine/cgroup-stats.js";
import { oomKills } from "../../../agent/engine/cgroup-oom.js";

describe("figures of a cgroup", () => {
  it("come from lines of a key and a number, with max as no limit", () => {
    expect(keyed("nr_periods 3\nthrottled_usec 12\nmax max\n")).toEqual({ nr_periods: 3, throttled_usec: 12, max: 18446744073709551615 });
    expect(keyed(undefined)).toEqual({});
  });
  it("part bytes and counts of version 2's io.stat", () => {
    const { bytes, counts } = ioStat("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\n8:16\n");
    expect(bytes).toEqual([{ major: 8, minor: 0, op: "read", value: 1 }, { major: 8, minor: 0, op: "write", value: 2 }, { major: 8, minor: 0, op: "discard", value: 5 }]);
    expect(counts.map((c) => c.value)).toEqual([3, 4, 6]);
  });
  it("leave out version 1's total without a device", () => {
    expect(blkioV1("254:0 Read 4096\n254:0 Total 4096\nTotal 4096\n")).toEqual([{ major: 254, minor: 0, op: "read", value: 4096 }, { major: 254, minor: 0, op: "total", value: 4096 }]);
  });
  it("count the kills of either version", () => {
    expect(oomKills("low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n")).toBe(1);
    expect(oomKills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")).toBe(3);
    expect(oomKills("oom_kill_disable 0\nunder_oom 0\n")).toBeUndefined();
    expect(oomKills(undefined)).toBeUndefined();
  });
});
