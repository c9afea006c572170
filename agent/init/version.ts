// What `--version` says. The build fills in version and commit.

export const AGENT_VERSION = __VERSION__;

/** The line that `kata-agent --version` prints, in the shape the Kata host's tools parse. */
export function versionLine(): string {
  return `kata-agent version ${AGENT_VERSION} (api version: 0.0.1, commit version: ${__COMMIT__}, type: typescript, extra-features: ["seccomp"])`;
}
