// Owns the one error type a user of the image builder sees, and the exit codes. A BuildError names the thing, the cause and
// what to do next; anything else that reaches main.ts is a defect of the builder and prints its stack.

/** What a failure means to a script that started the builder; the numbers are part of the command line's contract. */
export const EXIT = { ok: 0, failed: 1, usage: 2, missing: 3, config: 4, fetch: 5, interrupted: 130 } as const;

export type Failure = keyof typeof EXIT;

/** A failure to show to the user: `message` says what and why, `hint` (one or more lines) says how to go on. */
export class BuildError extends Error {
  constructor(readonly failure: Exclude<Failure, "ok">, message: string, readonly hint = "", options?: ErrorOptions) {
    super(message, options);
    this.name = "BuildError";
  }
}

/** The errno name of a file system error ("ENOSPC"), or undefined for any other value. */
export function errnoCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * The error to show when work in `where` failed: a full or read-only disk and denied access become a BuildError that names the
 * place; everything else is returned as it came.
 */
export function explainDisk(error: unknown, where: string): unknown {
  const code = errnoCode(error);
  const text = error instanceof Error ? error.message : String(error);
  if (code === "ENOSPC" || code === "EDQUOT" || /No space left on device/i.test(text)) {
    return new BuildError("failed", `no space left on the disk that holds ${where}`,
      "free some space there, or set KATA_CACHE to a folder on a larger disk", { cause: error });
  }
  if (error instanceof BuildError) return error;
  if (code === "ENOTDIR" || code === "EEXIST") return new BuildError("failed", `${where} cannot be used as a folder: ${text}`, "a part of the path is a file; choose another (--output, KATA_CACHE)", { cause: error });
  if (code === "EISDIR") return new BuildError("usage", `the output in ${where} is a folder: ${text}`, "name a file with --output", { cause: error });
  if (code === "ENOENT") return new BuildError("failed", `${where} cannot be made: ${text}`, "choose another folder (--output, KATA_CACHE)", { cause: error });
  if (code === "EROFS") return new BuildError("failed", `${where} is on a read-only file system`, "choose another folder (--output, KATA_CACHE)", { cause: error });
  if (code === "EACCES" || code === "EPERM") {
    return new BuildError("failed", `no permission in ${where}: ${text}`, "choose a folder you may write to (--output, KATA_CACHE)", { cause: error });
  }
  return error;
}
