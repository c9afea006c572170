// What a call can fail with, as one error type: a status from the agent, or the loss of the connection told the same way.
// It owns the names of the status codes. Source: google/rpc/code.proto, ttRPC's use of it.

const CODE_NAMES = [
  "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
  "DATA_LOSS", "UNAUTHENTICATED",
] as const;

export type CodeName = (typeof CODE_NAMES)[number];

/** Numbers of the status codes by name. */
export const CODE = Object.fromEntries(CODE_NAMES.map((name, code) => [name, code])) as Record<CodeName, number>;

/** Name of a status code; numbers that have none print as `CODE_<n>`. */
export const codeName = (code: number): string => CODE_NAMES[code] ?? `CODE_${code}`;

/** A call that did not succeed. `code` and `codeName` are the status, `method` the call, `message` the server's own text. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly codeName: string;

  constructor(
    readonly code: number,
    message: string,
    readonly method: string = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.codeName = codeName(code);
  }

  /** One line for people: method, code name and text. */
  override toString(): string {
    return `${this.method === "" ? "" : `${this.method}: `}${this.codeName}: ${this.message}`;
  }
}

/** A request that never left: a name in it is no field, or a value does not fit its field. */
export class UnencodableRequest extends RpcError {
  constructor(cause: Error, method: string) {
    super(CODE.INVALID_ARGUMENT, `request cannot be encoded: ${cause.message}`, method, { cause });
  }
}
