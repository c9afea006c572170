// How a field of the .proto files is called in TypeScript: camelCase, spelled as the OCI runtime spec spells it in JSON, so that a
// decoded Spec message reads like a config.json. Pure; used by the generator and by tests.

/** Where the message and the runtime spec disagree in more than case, or case cannot be told from the name. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "Spec.Version": "ociVersion",
  "LinuxHugepageLimit.Pagesize": "pageSize",
  "LinuxSyscall.errnoret": "errnoRet",
};

/**
 * TypeScript name of field `name` of message `message`: an acronym in front is lowered as a whole (OOMScoreAdj, oomScoreAdj), one
 * further on stays (hostID), words are joined (container_id, containerId).
 */
export const propertyName = (message: string, name: string): string => {
  const exception = EXCEPTIONS[`${message}.${name}`];
  if (exception !== undefined) return exception;
  const joined = name.replace(/_([a-z0-9])/g, (_all, c: string) => c.toUpperCase());
  if (/^[A-Z]+$/.test(joined)) return joined.toLowerCase();
  return joined.replace(/^[A-Z]+(?=[A-Z][a-z])|^[A-Z]/, (head) => head.toLowerCase());
};
