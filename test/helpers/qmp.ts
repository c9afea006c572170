// Orders to a running QEMU, for tests that plug devices in.
import { connect } from "node:net";

/** QEMU's machine protocol: one command, its answer. */
export const qmp = (path: string, execute: string, args: object): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = "";
    socket.on("connect", () => socket.write(`{"execute":"qmp_capabilities"}${JSON.stringify({ execute, arguments: args })}`));
    socket.on("error", reject);
    socket.on("data", (data) => {
      text += String(data);
      if (text.includes('"error"')) reject(new Error(text));
      if (text.split('"return"').length === 3) {
        socket.end();
        resolve(text);
      }
    });
  });
