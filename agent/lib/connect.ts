// Connecting to what listens at a name in the file system. See unix(7).
import { AF, F, O, SOCK } from "../abi/flags.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { fcntl, open } from "../sys/file.js";
import { connect, socket, unixAddress } from "../sys/socket.js";

/**
 * Connects to the unix stream socket at a path of any length ("@" begins a name of the abstract space) and waits while its
 * queue is full; the socket blocks. Throws SysError.
 */
export function connectUnix(path: string): Fd {
  const to = socket(AF.UNIX, SOCK.STREAM);
  try {
    fcntl(to, F.SETFL);
    const cut = path.lastIndexOf("/");
    if (path.startsWith("@")) connect(to, unixAddress(path));
    else {
      using dir = open(path.slice(0, cut + 1) || ".", O.PATH | O.DIRECTORY);
      connect(to, unixAddress(`${fdPath(dir)}/${path.slice(cut + 1)}`));
    }
    return to;
  } catch (error) {
    to.close();
    throw error;
  }
}
