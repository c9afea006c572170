// Holds our .proto files against agent-wire.tsv, the contract with the Kata hosts: every message, field, number, type, label,
// enum value and method, both ways. Numbers that differ here mean a host that cannot talk to us.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import protobuf from "protobufjs";
import { expect, test } from "vitest";
import { loadProtos } from "../../../protos/load.js";

const table = fileURLToPath(new URL("./agent-wire.tsv", import.meta.url));
const root = loadProtos(join(table, "../../../../protos"));

const bare = (fullName: string): string => fullName.replace(/^\./, "");

/** Type of a field as the table writes it: full name of a message or enum, or the scalar's name. */
const typeName = (f: protobuf.Field): string => {
  f.resolve();
  const value = f.resolvedType === null ? f.type : bare(f.resolvedType.fullName);
  return f instanceof protobuf.MapField ? `map<${f.keyType},${value}>` : value;
};

const labelOf = (f: protobuf.Field): string => {
  if (f.map) return "map";
  if (f.repeated) return "repeated";
  if (f.partOf === null) return "singular";
  return f.partOf.name.startsWith("_") ? "optional" : `oneof:${f.partOf.name}`;
};

const rowsOf = (o: protobuf.ReflectionObject, pkg: string): string[] => {
  const name = bare(o.fullName).slice(pkg.length + 1);
  const row = (kind: string, ...rest: (string | number)[]): string => [pkg, kind, name, ...rest].join("\t");
  if (o instanceof protobuf.Service) {
    return [
      row("service"),
      ...o.methodsArray.map((m) => {
        m.resolve();
        const from = bare(m.resolvedRequestType?.fullName ?? "?");
        return row("service", m.name, "", `${from} -> ${bare(m.resolvedResponseType?.fullName ?? "?")}`);
      }),
    ];
  }
  if (o instanceof protobuf.Enum) {
    return [row("enum"), ...Object.entries(o.values).map(([k, v]) => row("enum", k, v))];
  }
  if (!(o instanceof protobuf.Type)) return [];
  return [
    row("message"),
    ...o.fieldsArray.map((f) => row("message", f.name, f.id, typeName(f), labelOf(f))),
    ...o.nestedArray.flatMap((n) => rowsOf(n, pkg)),
  ];
};

const ours = ["grpc", "types"].flatMap((pkg) => {
  const ns = root.lookup(pkg);
  return ns instanceof protobuf.Namespace ? ns.nestedArray.flatMap((o) => rowsOf(o, pkg)) : [];
});

const theirs = readFileSync(table, "utf8")
  .trimEnd()
  .split("\n")
  .slice(1)
  .map((line) => line.replace(/\t+$/, ""));

test("every message, field, enum value and method of the contract is in our .proto files, and nothing else", () => {
  expect([...ours].sort()).toEqual([...theirs].sort());
});

test("the contract has the size we think it has", () => {
  const count = (kind: string, member: boolean): number =>
    theirs.filter((l) => l.split("\t")[1] === kind && l.split("\t").length > 3 === member).length;
  expect([count("message", false), count("message", true), count("service", true)]).toEqual([113, 369, 44]);
});
