# make sweep    the main job: scaling curves from 1k to 100k on this machine, with plots
# make test     every test
# make test-neon   the NEON kernels, under an emulator
# make test-onnx   ONNX's own tests of its Attention operator, through attnbench run (needs Python)
# make test-reference   random combinations of run's options against NumPy; TORCH=1 adds PyTorch
# make library  .build/library/libattnbench.so for C, with all of Swift inside; header in Sources/CAttnbench
# make python   a wheel in Python/dist that needs no Swift; make test-python tests it in a fresh environment
# make model-example   a real model from PyPI, captured, chosen for and evaluated on 4096 tokens; N=1024 takes less
# make install  PREFIX=/usr/local: puts one attnbench in place, its manual page and shell completions
# make peers    the same work on other libraries; PEERS=all adds PyTorch, QUICK=1 takes a minute
# make distributed   attention over several processes: the package in Distributed/, its tests with 2 and 4 ranks
# make choose-check   the choices of recommend against brute force; QUICK=1 takes a few minutes
# make microbench   each micro-kernel alone, as a fraction of what the machine can do
# make format   rewrites the sources in house style; make lint checks it

PREFIX ?= /usr/local
N ?= 1k..100k
SWIFT ?= swift
PACKAGES := libopenblas-dev libhwloc-dev zlib1g-dev gnuplot-nox pkg-config
SOURCES := Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources Benchmarks/Tests \
	Distributed/Package.swift Distributed/Sources Distributed/Tests

# A folder that does not exist yet: results/<date>-<host>, then -2, -3, ...
OUT ?= $(shell base=results/$$(date +%F)-$$(hostname -s 2>/dev/null || uname -n); out=$$base; i=1; \
	while [ -e "$$out" ]; do i=$$((i+1)); out=$$base-$$i; done; echo "$$out")

.PHONY: all setup build sweep test test-neon install format lint clean
all: build

# Installs what is missing, as root or with sudo; without either, says what to run.
setup:
	@command -v $(SWIFT) >/dev/null || { \
	  echo "error: no 'swift' on PATH; install a Swift 6.3 or later toolchain from swift.org" >&2; exit 1; }
	@missing=; for p in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=; \
	elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then sudo=sudo; \
	else echo "error: missing packages; run as root: apt-get install -y --no-install-recommends$$missing" >&2; exit 1; fi; \
	echo "installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	$$sudo apt-get install -qq -y --no-install-recommends $$missing >/dev/null 2>&1 || { \
	  $$sudo apt-get update -qq && \
	  $$sudo apt-get install -qq -y --no-install-recommends $$missing >/dev/null; }

build: setup
	$(SWIFT) build -c release --product attnbench

sweep: build
	.build/release/attnbench sweep --n $(N) -o "$(OUT)"

# In release: the kernels are C, which a debug build does not optimise.
test: setup
	@echo "building the library, the command and the tests in release: a few minutes the first time"
	$(SWIFT) build -c release --build-tests
	@echo "running the tests"
	$(SWIFT) test -c release --skip-build

# The kernels cross-compiled for AArch64 and run under an emulator: right, where they cannot be timed.
test-neon:
	@$(MAKE) --no-print-directory setup PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
	@mkdir -p .build/neon
	for f in Sources/CAttentionKernels/neon/neon Sources/CAttentionKernels/portable/portable \
	  Sources/CAttentionKernels/dispatch Tests/KernelCheck/kernel_check; do \
	  clang --target=aarch64-linux-gnu -O2 -Wall -Wextra -Werror -nostdlibinc \
	    -isystem /usr/aarch64-linux-gnu/include -ISources/CAttentionKernels/include \
	    -c $$f.c -o .build/neon/$$(basename $$f).o || exit 1; \
	done
	aarch64-linux-gnu-gcc -static .build/neon/*.o -lm -o .build/neon/kernel_check
	qemu-aarch64 .build/neon/kernel_check

# CASES=500 SEED=1 choose what is drawn.
.PHONY: test-onnx test-reference
REFERENCE := Tests/Reference/.venv
$(REFERENCE)/bin/python:
	python3 -m venv $(REFERENCE)

test-onnx test-reference: build $(REFERENCE)/bin/python
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r Tests/Reference/requirements$(if $(TORCH),-torch).txt
	$(REFERENCE)/bin/python Tests/Reference/$(if $(filter test-onnx,$@),onnx_nodes.py,random_checks.py \
	  --cases $(or $(CASES),500) --seed $(or $(SEED),1) $(if $(TORCH),--torch))

# Its own build folder: one file that needs no Swift libraries at run time. Completions and manual
# come from the command's own description of its options; the argument parser brings the tool.
SHARE = $(DESTDIR)$(PREFIX)/share
STATIC_BUILD := build -c release --static-swift-stdlib --scratch-path .build/install
install: setup
	$(SWIFT) $(STATIC_BUILD) --product attnbench
	$(SWIFT) $(STATIC_BUILD) --product generate-manual
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(SHARE)/bash-completion/completions" \
	  "$(SHARE)/zsh/site-functions" "$(SHARE)/fish/vendor_completions.d" "$(SHARE)/man/man1"
	install -m 755 .build/install/release/attnbench "$(DESTDIR)$(PREFIX)/bin/attnbench"
	set -e; cd .build/install; \
	for shell in bash zsh fish; do \
	  release/attnbench --generate-completion-script $$shell > completion.$$shell; \
	done; \
	release/generate-manual release/attnbench --output-directory . \
	  --date "$$(git log -1 --format=%cs 2>/dev/null || date +%F)"; \
	install -m 644 completion.bash "$(SHARE)/bash-completion/completions/attnbench"; \
	install -m 644 completion.zsh "$(SHARE)/zsh/site-functions/_attnbench"; \
	install -m 644 completion.fish "$(SHARE)/fish/vendor_completions.d/attnbench.fish"; \
	install -m 644 attnbench.1 "$(SHARE)/man/man1/attnbench.1"

# The C interface as one file: the Swift runtime and OpenBLAS are inside, and nothing but attnbench_* is
# visible, so that other copies of either in the same process are left alone. SwiftPM takes no notice of
# --static-swift-stdlib for a dynamic library, hence -static-stdlib; a folder with the archives
# alone, searched first, is how -lopenblas and -lstdc++ become static. hwloc's archive cannot go into a shared
# library: the wheel brings hwloc and what it needs along.
.PHONY: library python test-python
LIBRARY := .build/library
library: setup
	@mkdir -p $(LIBRARY)/static
	@ln -sf "$$(pkg-config --variable=libdir openblas)/libopenblas.a" \
	  "$$(clang -print-file-name=libstdc++.a)" $(LIBRARY)/static/
	$(SWIFT) build -c release --product AttentionC --scratch-path $(LIBRARY) -Xswiftc -static-stdlib \
	  -Xlinker -L$(CURDIR)/$(LIBRARY)/static -Xlinker --version-script=$(CURDIR)/Python/exported.map \
	  -Xlinker -soname=libattnbench.so -Xlinker --disable-new-dtags -Xlinker --gc-sections -Xlinker -s
	install -m 644 $(LIBRARY)/release/libAttentionC.so $(LIBRARY)/libattnbench.so

# Libraries beside libattnbench.so are found first, through $$ORIGIN in its run path.
PYTHON_LIB := Python/attnbench/lib
python: library
	@rm -rf $(PYTHON_LIB) Python/build Python/dist && mkdir -p $(PYTHON_LIB)
	cp $(LIBRARY)/libattnbench.so $(PYTHON_LIB)/
	ldd $(LIBRARY)/libattnbench.so | awk '$$1 ~ /^lib(hwloc|udev)\./ { print $$3 }' | xargs -I{} cp -L {} $(PYTHON_LIB)/
	cp LICENSE NOTICE Python/
	@mkdir -p Python/licenses
	for p in libopenblas0-pthread libhwloc15 libudev1; do \
	  cp /usr/share/doc/$$p/copyright Python/licenses/$$p || exit 1; \
	done
	python3 -m pip wheel --quiet --disable-pip-version-check --no-deps -w Python/dist ./Python
	@ls Python/dist/*.whl

# An environment of its own, as a user's: the wheel is installed, the sources are not on the path.
PYTHON_VENV := Python/.venv
$(PYTHON_VENV)/bin/python:
	python3 -m venv $(PYTHON_VENV)

test-python: python $(PYTHON_VENV)/bin/python
	$(PYTHON_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r Python/tests/requirements.txt
	$(PYTHON_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
	  Python/dist/*.whl
	cd Python/tests && ../.venv/bin/python -m pytest -q $(ARGS)

.PHONY: model-example
model-example: python build
	Python/model-example.sh .build/model-example Python/dist/*.whl .build/release/attnbench

format:
	$(SWIFT) format --in-place --recursive $(SOURCES)

lint:
	$(SWIFT) format lint --strict --recursive $(SOURCES)

clean:
	rm -rf .build

# Comparison with other libraries and micro-benchmarks: see Benchmarks/README.md. WORK=full-*,short-*
# (WORK='*bf16*' is all work in bf16) and SECONDS=20 choose what is compared and for how long.
# BEFORE names another checkout, or an attnbench-peer that was built from one: it takes turns with this
# one, in peers and in microbench.
.PHONY: peers test-peers microbench
VENV := Benchmarks/peers/.venv
PEER_REQUIREMENTS := Benchmarks/peers/requirements$(if $(filter all,$(PEERS)),-all).txt
ifeq ($(origin OUT),file)
peers: OUT := $(shell base=results/$$(date +%F)-$$(hostname -s 2>/dev/null || uname -n)-peers; \
	out=$$base; i=1; while [ -e "$$out" ]; do i=$$((i+1)); out=$$base-$$i; done; echo "$$out")
endif
BEFORE_TREE = $(and $(BEFORE),$(wildcard $(BEFORE)/.))
# For an attnbench-peer that was built elsewhere, the programs beside it.
BEFORE_PROGRAM = $(if $(BEFORE_TREE),$(BEFORE)/Benchmarks/.build/release,$(patsubst %/,%,$(dir $(BEFORE))))/$(1)

$(VENV)/bin/python:
	python3 -m venv $(VENV)

peers: setup $(VENV)/bin/python
	@if [ -d "$(BEFORE)" ] && [ ! -d "$(BEFORE)/Benchmarks/Sources/attnbench-peer" ]; then \
	  echo "error: BEFORE=$(BEFORE): this checkout has no Benchmarks/Sources/attnbench-peer; name a later \
	one, or the path of an attnbench-peer that was built against it" >&2; exit 1; fi
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $(PEER_REQUIREMENTS)
	$(SWIFT) build -c release --package-path Benchmarks --product attnbench-peer
	$(SWIFT) build -c release --package-path Benchmarks --product peers
	$(if $(BEFORE_TREE),$(SWIFT) build -c release --package-path "$(BEFORE)/Benchmarks" --product attnbench-peer)
	Benchmarks/.build/release/peers -o "$(OUT)" $(if $(QUICK),--quick) \
	  $(if $(WORK),--work '$(WORK)') $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(BEFORE),--before "$(call BEFORE_PROGRAM,attnbench-peer)") $(ARGS)

# What drives the peers, on fake ones; needs no library.
test-peers: setup
	$(SWIFT) test -c release --package-path Benchmarks

microbench: setup
	$(SWIFT) build -c release --package-path Benchmarks --product kernel-times
	$(if $(BEFORE_TREE),$(SWIFT) build -c release --package-path "$(BEFORE)/Benchmarks" --product kernel-times)
	Benchmarks/.build/release/kernel-times $(if $(BEFORE),--before "$(call BEFORE_PROGRAM,kernel-times)") $(ARGS)

# ARGS='--inputs FILE.safetensors:PREFIX' adds tensors; the CSV goes to results/choose-check,
# to .build with QUICK=1.
.PHONY: choose-check
choose-check: setup
	$(SWIFT) build -c release --package-path Benchmarks --product choose-check
	Benchmarks/.build/release/choose-check $(if $(QUICK),--quick) $(ARGS)

# Over several processes, with MPI: Open MPI, or MPICH with MPI=mpich. The schemes are held against one
# process with 2 and 4 ranks, whether the machine has as many cores or not.
.PHONY: distributed
MPI ?= openmpi
MPI_BUILD := Distributed/.build$(if $(filter mpich,$(MPI)),/mpich)
MPI_PACKAGES := $(if $(filter mpich,$(MPI)),libmpich-dev mpich,libopenmpi-dev openmpi-bin)
distributed:
	@$(MAKE) --no-print-directory setup PACKAGES="$(PACKAGES) $(MPI_PACKAGES)"
	ATTNBENCH_MPI=$(MPI) $(SWIFT) build -c release --package-path Distributed \
	  --scratch-path $(MPI_BUILD) --build-tests
	ATTNBENCH_MPI=$(MPI) $(SWIFT) test -c release --package-path Distributed \
	  --scratch-path $(MPI_BUILD) --skip-build
	Distributed/Tests/ranks.sh $(MPI_BUILD)/release $(MPI)
