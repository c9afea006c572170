# One word for each thing that can be made; `make` alone lists them. Results land in dist/.
SHELL := /bin/sh
TSX := node --import tsx
# a commit changes what --version says
COMMITS := $(wildcard $(shell git rev-parse --git-path logs/HEAD 2>/dev/null))
AGENT_SOURCES := $(shell find agent image-builder -name '*.ts' -o -name '*.c' -o -name '*.h' -o -name '*.json')

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ready sample ## the main job: build what is needed, boot a VM, run a container in it (FROM=debian: on Debian's kernel)
	@./katactl run -v dist/sample-image -- /bin/sh -c 'echo "hello from a container: $$(uname -sr), process $$$$ of $$(hostname)"; id'

test: deps-test ## all tests (types, rules, unit, host, fuzz, vm); those in VMs on the kernel at hand, and some always on Debian's
	@$(MAKE) --no-print-directory debug ready image sample
	@$(MAKE) --no-print-directory check
	@node_modules/.bin/vitest run

agent: deps-agent dist/kata-agent ## dist/kata-agent, the static binary
dist/kata-agent: $(AGENT_SOURCES) $(COMMITS) package.json package-lock.json
	@$(TSX) image-builder/main.ts agent

debug: deps-build dist/kata-agent.debug ## the twin with ASAN and UBSAN
dist/kata-agent.debug: $(AGENT_SOURCES) $(COMMITS) package.json package-lock.json
	@$(TSX) image-builder/main.ts agent --debug

ready: deps-run ## agent, kernel and initrd of what is at hand: our kernel when it has been compiled, else Debian's
	@$(TSX) image-builder/main.ts ready $$($(MAKE) -q --no-print-directory dist/kata-agent >&2 || echo --agent) $(FROM:%=--from %)

kernel: deps-build ## dist/bzImage and dist/vmlinux (long the first time, cached by content; FROM=debian, FROM=FILE.deb or FROM=DIR: a ready-made one)
	@$(TSX) image-builder/main.ts kernel $(FROM:%=--from %)

initrd: agent ## dist/initrd.img
	@$(TSX) image-builder/main.ts initrd

image: agent ## dist/rootfs.img, the same root file system as a disk image
	@$(TSX) image-builder/main.ts image

sample: deps-run ## dist/sample-image, a small busybox userland as an OCI layout
	@[ -e dist/sample-image/index.json ] || $(TSX) tools/make-sample-image.ts

check: deps-build lint ## types and the linter
	@node_modules/.bin/tsc -p agent && node_modules/.bin/tsc -p .

lint: deps-build ## the linter (eslint.config.js): promises that nobody awaits, switches that forget a case, ...
	@node_modules/.bin/eslint --cache --cache-location node_modules/.cache/eslint .

unit host vm fuzz rules: ## one kind of test alone (make vm T=name runs those whose name fits; make vm FROM=debian on that kernel; make host FAULTS=... with faults, docs/fallbacks.md)
	@$(if $(FROM),$(MAKE) --no-print-directory ready image FROM=$(FROM) &&) $(if $(FAULTS),KATA_FAULTS='$(FAULTS)' KATA_AGENT=dist/kata-agent.debug) node_modules/.bin/vitest run --project $@ $(T)

bench: deps-test agent kernel initrd ## measures, writes dist/bench.json, holds it against bench/budgets.json
	@$(TSX) bench/main.ts

soak: deps-test agent ## 10,000 containers one after the other by the agent, 300 by the command line; nothing may be left
	@$(TSX) test/soak/main.ts

attack: deps-test ready ## attacks from inside containers and from the host's side, natively and in a VM with 128 MB (A="--only NAME")
	@$(TSX) test/attack/main.ts $(A)

faults: deps-test agent ## one system call of the agent fails each time in a pod's life (ONLY=CALL:NUMBER:ERRNO, FULL=1, MINUTES=10)
	@$(TSX) test/faults/main.ts $(if $(ONLY),,--docs)

fallbacks: deps-test agent debug ## what only other kernels lead to, each forced, with the host tests that it touches (ONLY=NAME)
	@$(TSX) test/fallbacks/main.ts $(if $(ONLY),,--docs)

fresh: ## the README's commands in an empty Debian root or with an empty HOME, with a clock (F=--test: `make test` too)
	@test/fresh/main.sh $(F)

conformance: deps-test agent kernel ## other people's validation suite against ours and crun, on cgroup v1 and v2
	@$(TSX) test/conformance/main.ts --docs

gen: ## everything that is written by a program: agent/rpc/gen and ctl/client/gen from protos/, the layers in agent/README.md, NOTICE and THIRD-PARTY.md
	@$(TSX) protos/gen.ts
	@$(TSX) test/rules/layers-table.ts
	@$(TSX) tools/third-party.ts

clean: ## removes dist/ (caches outside the tree stay)
	@rm -rf dist

deps-agent:
	@tools/deps.sh agent
deps-build:
	@tools/deps.sh build
deps-run:
	@tools/deps.sh run
deps-test:
	@tools/deps.sh test

.PHONY: help run ready test agent debug kernel initrd image sample check lint unit host vm fuzz rules bench attack faults fallbacks fresh conformance soak gen clean deps-agent deps-build deps-run deps-test
.DEFAULT_GOAL := help
