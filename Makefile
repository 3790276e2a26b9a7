# Makefile: builds, tests and measures Pando. `make help` lists targets and switches.
#
# Each combination of switches has a directory of its own, build/<configuration>/, so that they do not mix.
# Debian packages that a target needs and that are missing are installed by scripts/need.sh (NEED=0: never).

MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL := /bin/bash
.DEFAULT_GOAL := all

# ---- Switches -------------------------------------------------------------------------------------------------
DEBUG ?= 0
SAN ?=
COW ?= 1
MALLOC ?= $(if $(SAN),libc,mimalloc)
WERROR ?= 0
OPT ?= -O2
NEED ?= 1
JOBS ?= 2
FUZZ_SECONDS ?= 60
TEST_SECONDS ?= 600
ONLY ?= *
BUILDS ?= 1 0
STRESS_ROUNDS ?= 10
ifeq ($(origin CC),default)
CC := clang-19
endif
export NEED JOBS TEST_SECONDS STRESS_ROUNDS

is_clang := $(findstring clang,$(CC))
space := $(subst ,, )
configuration := $(subst $(space),-,$(strip $(notdir $(firstword $(CC))) $(if $(filter 0,$(DEBUG)),release,debug) $(SAN) \
    $(if $(filter 0,$(COW)),nocow) $(filter-out mimalloc,$(MALLOC)) $(patsubst -%,%,$(filter-out -O2,$(OPT)))))
out := build/$(configuration)

# ---- Flags ----------------------------------------------------------------------------------------------------
# valgrind of Debian 12 reads DWARF 4 only.
# The object accessors look at the same memory as words, bytes and slots: no strict aliasing.
flags := -std=gnu17 $(OPT) -g -gdwarf-4 -I. -fno-strict-aliasing -pthread -MMD -MP \
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes $(if $(filter 1,$(WERROR)),-Werror) \
    -DPN_DEBUG=$(DEBUG) -DPN_COW=$(COW) -DPN_MALLOC_$(shell echo $(MALLOC) | tr a-z A-Z)=1
link := -pthread $(if $(is_clang),-fuse-ld=lld)
libraries := -lm $(patsubst %,-l%,$(filter-out libc,$(MALLOC)))
sanitize_address := -fsanitize=address -fno-omit-frame-pointer
sanitize_undefined := -fsanitize=undefined -fno-sanitize-recover=all
sanitize_address,undefined := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
sanitize_thread := -fsanitize=thread
sanitize_fuzzer := -fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer
sanitize := $(sanitize_$(SAN))
$(if $(SAN),$(if $(sanitize),,$(error SAN=$(SAN) is not one of: address; undefined; thread; address,undefined)))
flags += $(sanitize) $(CFLAGS)
link += $(sanitize) $(LDFLAGS)

# ---- Files ----------------------------------------------------------------------------------------------------
folders := base heap gc interp image asm
sources := $(wildcard $(folders:%=%/*.c))
objects := $(sources:%.c=$(out)/%.o)
library := $(out)/libpando.a
support := $(patsubst %.c,$(out)/%.o,$(wildcard tests/support/*.c))
test_sources := $(filter-out tests/support/% tests/fuzz/% tests/stress/%,$(wildcard tests/*/$(ONLY).c))
tests := $(test_sources:%.c=$(out)/%)
scripts := $(wildcard tests/*/$(ONLY).sh)
stress := $(patsubst %.c,$(out)/%,$(wildcard tests/stress/$(ONLY).c))
fuzzers := $(patsubst %.c,$(out)/%,$(wildcard tests/fuzz/$(ONLY).c))
bench_support := $(out)/bench/budget/budget.o
benches := $(patsubst %.c,$(out)/%,$(filter-out bench/budget/budget.c,$(wildcard bench/budget/*.c)))
c_files := $(sort $(wildcard */*.c */*.h */*/*.c */*/*.h))

# ---- Packages -------------------------------------------------------------------------------------------------
packages := $(if $(is_clang),$(notdir $(firstword $(CC))) lld-19 $(if $(SAN),libclang-rt-19-dev),gcc) libc6-dev \
    $(patsubst %,lib%-dev,$(filter-out libc,$(MALLOC)))
.PHONY: need-build need-test need-stress need-bench need-lint
need-build: ; @scripts/need.sh $(packages)
need-test: ; @scripts/need.sh $(packages) libcmocka-dev
need-stress: ; @scripts/need.sh valgrind libc6-dbg
need-bench: ; @scripts/need.sh valgrind lua5.4
need-lint: ; @scripts/need.sh clang-format-19 clang-tidy-19 libcmocka-dev libc6-dev

# ---- Building -------------------------------------------------------------------------------------------------
.PHONY: all help clean test test-one stress stress-one valgrind-one fuzz fuzz-one bench-budget bench-programs lint format
.SECONDARY:
all: $(library)

$(library): $(objects)
	@rm -f $@
	ar rcs $@ $^

$(out)/%.o: %.c Makefile | need-build
	@mkdir -p $(@D)
	$(CC) $(flags) -c $< -o $@
# Tests include cmocka.h, so even their objects wait for its package.
$(out)/tests/%.o: tests/%.c Makefile | need-test
	@mkdir -p $(@D)
	$(CC) $(flags) -c $< -o $@

$(tests) $(stress): %: %.o $(support) $(library)
	$(CC) $(link) $^ -lcmocka $(libraries) -o $@
$(fuzzers): %: %.o $(library)
	$(CC) $(link) -fsanitize=fuzzer $^ $(libraries) -o $@
$(benches): %: %.o $(bench_support) $(library)
	$(CC) $(link) $^ $(libraries) -o $@

# ---- Testing --------------------------------------------------------------------------------------------------
# scripts/run-tests.sh prints a line for each program and adds its counts to build/totals; what does not build has failed.
or_failed := || echo 0 1 >> build/totals
test:
	@mkdir -p build && : > build/totals
	@for debug in $(BUILDS); do $(MAKE) DEBUG=$$debug test-one $(or_failed); done; scripts/run-tests.sh --total build/totals
test-one: $(tests)
	@scripts/run-tests.sh build/totals $(configuration) $(if $(filter 1,$(DEBUG)),$(scripts)) $(tests)

stress_modes := stress-gc=1,verify copy-all poison yield poison-dead stress-gc=1,poison-dead copy-all,poison,yield \
    stress-gc=1,copy-all,yield stress-gc=3,copy-all,poison,poison-dead,yield,verify
stress: need-stress
	@mkdir -p build && : > build/totals
	@for mode in $(stress_modes); do PANDO_DEBUG=$$mode $(MAKE) DEBUG=1 stress-one $(or_failed); done; \
	    $(MAKE) DEBUG=0 stress-one $(or_failed); $(MAKE) DEBUG=0 MALLOC=libc valgrind-one $(or_failed); \
	    scripts/run-tests.sh --total build/totals
stress-one: $(tests) $(stress)
	@scripts/run-tests.sh build/totals "$(configuration) $$PANDO_DEBUG" $(tests) $(stress)
valgrind-one: $(tests) $(stress)
	@RUN="valgrind -q --error-exitcode=99 --leak-check=no" \
	    scripts/run-tests.sh build/totals "$(configuration) valgrind" $(filter-out $(out)/tests/image/checked_files_are_remembered,$(tests) $(stress))

fuzz:
	@$(MAKE) SAN=fuzzer DEBUG=1 CC=clang-19 fuzz-one
fuzz-one: $(fuzzers)
	@for target in $(fuzzers); do \
	    corpus=$$target.corpus; mkdir -p $$corpus; echo "$$target: $(FUZZ_SECONDS) s"; \
	    $$target -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$$target. -verbosity=0 $$corpus || exit 1; done

# ---- Measuring ------------------------------------------------------------------------------------------------
bench_out = build/$(notdir $(CC))-release
bench-budget: need-bench
	@$(MAKE) DEBUG=0 COW=1 bench-programs
	@$(MAKE) DEBUG=0 COW=0 bench-programs
	@BENCH_COMPILER="$$($(CC) --version | head -n 1)" lua5.4 bench/budget/table.lua $(bench_out)/bench/budget $(bench_out)-nocow/bench/budget bench/budget.md
bench-programs: $(benches)

# ---- Reading --------------------------------------------------------------------------------------------------
lint: need-lint
	@clang-format-19 --dry-run -Werror $(c_files)
	@printf '%s\n' $(filter %.c,$(c_files)) | xargs -P $(JOBS) -n 4 sh -c \
	    'clang-tidy-19 --quiet "$$@" -- -std=gnu17 -I. 2>/dev/null' lint
format: need-lint
	clang-format-19 -i $(c_files)

clean: ; rm -rf build

help:
	@cat scripts/help.txt

-include $(objects:.o=.d) $(support:.o=.d) $(tests:=.d) $(stress:=.d) $(fuzzers:=.d) $(benches:=.d) $(bench_support:.o=.d)
