// Modules that a running agent rarely needs: their bytecode is read when they are first called, so they cost no memory
// before. The build makes an entry of its own for each call of `lazy<typeof import(PATH)>(NAME)` it finds.

/** Returns a function that loads the module on its first call (synchronously) and gives its exports. */
export function lazy<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => (loaded ??= native.load(name.split("/").join("__")) as T); // the bundle is flat
}
