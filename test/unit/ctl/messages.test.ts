// The generated types are those of the .proto files in the tree.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { messagesSource } from "../../../ctl/client/messages-gen.js";

it("gen/messages.ts is what messages-gen.ts writes (run: tsx ctl/client/messages-gen.ts)", () => {
  expect(readFileSync(new URL("../../../ctl/client/gen/messages.ts", import.meta.url), "utf8")).toBe(messagesSource());
});
