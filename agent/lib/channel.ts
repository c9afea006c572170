// A descriptor that bytes go in and out of without waiting: a connected socket, or a virtio-serial port. It keeps nothing of what
// passes; who owns it decides what to do when it cannot take more. See epoll(7); drivers/char/virtio_console.c for the port.
import { EPOLL, MSG } from "../abi/flags.js";
import { sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { NR } from "../abi/nr.js";
import { type Watch, watch } from "./loop.js";

/**
 * Most bytes of one write to a vsock. Linux keeps a longer packet in several memory fragments, and device models that take a
 * packet's data from one descriptor only (vhost-device-vsock 0.3) drop it without a word. 32 KiB less its header would still fit.
 */
export const VSOCK_PIECE = 28672;

/** Is told what the channel is ready for. At the end of the stream and on errors it is told to read; what it throws ends it. */
export interface ChannelOwner {
  readable(): void;
  writable(): void;
  close(): void;
}

export class FdChannel {
  // no #private names on the path of every byte: the guest's engine checks each use
  private watching: Watch | undefined = undefined;
  private reads = true;
  private n: number;
  private readonly sends: number;

  /** Takes the descriptor over. `endless`: a serial port, whose end only means that the peer has left. `piece`: most bytes of one write. `onClose` is told once. */
  constructor(readonly fd: Fd, readonly endless: boolean, private readonly piece = 0x7fffffff, private readonly onClose?: () => void) {
    this.n = fd.n;
    this.sends = endless ? NR.write : NR.sendto;
  }

  /** Begins to tell `owner`. Throws SysError (EPERM: the file cannot be polled). */
  start(owner: ChannelOwner): void {
    // a port without a peer reports a hang-up for as long as there is none, so only changes are of interest
    const events = this.endless ? EPOLL.IN | EPOLL.OUT | EPOLL.ET : EPOLL.IN;
    this.watching = watch(this.n, events, (ready) => {
      if (ready === EPOLL.IN && this.reads) return owner.readable();
      if ((ready & ~EPOLL.OUT) !== 0 && (this.reads || !this.endless)) owner.readable();
      if ((ready & EPOLL.OUT) !== 0 && this.n >= 0) owner.writable();
    }, () => {
      try {
        owner.close();
      } finally {
        this.close(); // whatever the owner had to do
      }
    });
  }

  /** read(2) into bytes [at, at + length); 0 at the end, the negative errno on failure. */
  read(bytes: Uint8Array, at: number, length: number): number {
    if (at < 0 || length < 0 || at + length > bytes.length) throw outside();
    const address = native.addressOf(bytes) + at;
    let r = sys(NR.read, this.n, address, length);
    while (r === -E.EINTR) r = sys(NR.read, this.n, address, length);
    return r;
  }

  /** write(2), or send(2) without SIGPIPE on a socket, of bytes [at, at + length), or of the first piece of them. */
  write(bytes: Uint8Array, at: number, length: number): number {
    if (at < 0 || length < 0 || at + length > bytes.length) throw outside();
    const address = native.addressOf(bytes) + at;
    const size = length > this.piece ? this.piece : length;
    let r = sys(this.sends, this.n, address, size, MSG.NOSIGNAL);
    while (r === -E.EINTR) r = sys(this.sends, this.n, address, size, MSG.NOSIGNAL);
    return r;
  }

  want(readable: boolean, writable: boolean): void {
    this.reads = readable;
    if (!this.endless) this.watching?.modify((readable ? EPOLL.IN : 0) | (writable ? EPOLL.OUT : 0));
  }

  close(): void {
    if (!this.fd.open) return;
    this.watching?.close();
    this.watching = undefined;
    this.n = -1;
    this.fd.close();
    this.onClose?.();
  }
}

const outside = (): RangeError => new RangeError("channel: bytes outside the buffer");
