// One error shape for everything that is not a bare system call. It imports nothing: oci/ and the host's tests use it too.

const KINDS = ["invalid", "not-found", "exists", "precondition", "denied", "unavailable", "deadline", "unimplemented", "exhausted", "cancelled", "internal"] as const;
/** What a failure means to the caller; rpc/status.ts alone turns it into a code. */
export type ErrorKind = (typeof KINDS)[number];

/** A kind that somebody else has told; "internal" for anything that is none. */
export function kindOf(told: unknown): ErrorKind {
  return KINDS.find((kind) => kind === told) ?? "internal";
}

const PARTS = ["hook", "cgroup hierarchy", "container id", "first process", "exec id"] as const;
/** What has failed, or is not there, where somebody decides by it: texts are for people. */
export type ErrorPart = (typeof PARTS)[number];

/** A part that somebody else has told; undefined for anything that is none. */
export function partOf(told: unknown): ErrorPart | undefined {
  return PARTS.find((part) => part === told);
}

/** A failure with a kind and a sentence: small letters, names the thing, the cause and what to do. */
export class AppError extends Error {
  constructor(readonly kind: ErrorKind, message: string, readonly why?: unknown, readonly part?: ErrorPart) {
    super(message);
  }
}

/** The message of anything thrown. The engine throws null when there is no room for an error. */
export function messageOf(error: unknown): string {
  if (error === null) return "out of memory";
  return error instanceof Error ? error.message : String(error);
}

/** Runs `fn`; a failure comes out as "what: cause", keeping an AppError's kind. */
export function attempt<T>(what: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    throw because(what, error);
  }
}

/** The error for `what` that `cause` made; the kind and the part of an AppError are kept, everything else is internal. */
export function because(what: string, cause: unknown, part?: ErrorPart): AppError {
  const own = cause instanceof AppError;
  return new AppError(own ? cause.kind : "internal", `${what}: ${messageOf(cause)}`, cause, part ?? (own ? cause.part : undefined));
}
