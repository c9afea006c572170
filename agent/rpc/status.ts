// What an error is called on the wire: the one place where kinds become google.rpc codes. Nothing else belongs here.
// Hosts look for some texts in the message ("ESRCH: No such process", "Link not found"), so messages go out as they are.
import { AppError, type ErrorKind, messageOf } from "../lib/errors.js";
import { DecodeError, TooMuchError } from "./wire/decode.js";

export interface Status {
  readonly code: number;
  readonly message: string;
}

/** google.rpc.Code of each kind of error. */
export const CODE: Readonly<Record<ErrorKind, number>> = {
  cancelled: 1, invalid: 3, deadline: 4, "not-found": 5, exists: 6, denied: 7, exhausted: 8, precondition: 9, unimplemented: 12, internal: 13, unavailable: 14,
};

const UNKNOWN = 2;

/** Code and message for anything thrown by a handler; a payload that does not decode is UNKNOWN, as Kata's hosts know it. */
export function statusOf(error: unknown): Status {
  if (error instanceof TooMuchError) return { code: CODE.exhausted, message: error.message };
  if (error instanceof DecodeError) return { code: UNKNOWN, message: `ttrpc err: ${error.message}` };
  return { code: error instanceof AppError ? CODE[error.kind] : CODE.internal, message: messageOf(error) };
}
