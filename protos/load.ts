// Reads the .proto files of this folder with protobufjs. Used by the table generator, the tests and the host side;
// field names stay as written in the files.
import { join } from "node:path";
import protobuf from "protobufjs";

/** The files that together make up the protocol. */
export const PROTO_FILES = ["agent.proto", "csi.proto", "health.proto", "oci.proto", "ttrpc.proto", "types.proto"];

/**
 * Parse all .proto files in `folder` into one resolved reflection root.
 * Throws the parser's error, which names file and line.
 */
export const loadProtos = (folder: string): protobuf.Root => {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => (target.startsWith("google/") ? target : join(folder, target));
  root.loadSync(PROTO_FILES, { keepCase: true });
  root.resolveAll();
  return root;
};
