// Owns work that goes on at the same time: when one part fails, the others are told to stop and waited for, and the first failure is the
// one that is told. Must never leave a part running.
import type { Context } from "./context.js";

type Part<T> = (context: Context) => Promise<T>;

/** The results of all parts. Rejects with what the first part to fail has thrown, when all have ended. */
export async function together<A, B>(context: Context, a: Part<A>, b: Part<B>): Promise<[A, B]> {
  const failed = new AbortController();
  const stop = (): void => failed.abort(); // AbortSignal.any is not in Node 18
  context.signal.addEventListener("abort", stop, { once: true });
  if (context.signal.aborted) stop();
  const own: Context = { ...context, signal: failed.signal };
  let first: { readonly error: unknown } | undefined;
  const run = <T>(part: Part<T>): Promise<T> => part(own).catch((error: unknown) => {
    first ??= { error };
    stop();
    throw error;
  });
  const [one, two] = await Promise.allSettled([run(a), run(b)]);
  context.signal.removeEventListener("abort", stop);
  if (one.status === "rejected" || two.status === "rejected") throw (first as unknown as { readonly error: unknown }).error;
  return [one.value, two.value];
}
