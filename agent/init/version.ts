// What `--version` says. The build fills in the version.

/** Version of the agent API that hosts know it by (Health.Version's grpc_version). */
export const API_VERSION = "0.0.1";
export const AGENT_VERSION = __VERSION__;

/** The line that `kata-agent --version` prints, in the shape the Kata host's tools parse. */
export function versionLine(): string {
  return `kata-agent version ${AGENT_VERSION} (api version: ${API_VERSION}, commit version: ${AGENT_VERSION}, type: typescript, extra-features: ["seccomp"])`;
}
