# Builds with PGXS. "make help" lists what can be done; "make test" also works where PostgreSQL is not installed yet.

EXTENSION = referral
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" referral.control)
MODULE_big = referral
PGFILEDESC = "referral - healthcare referral operations inside the database"

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare

DATA = $(wildcard sql/upgrade/*--*--*.sql)
DATA_built = referral--$(EXTVERSION).sql
EXTRA_CLEAN = $(DATA_built).tmp

# expected/ is found in the current directory, test/sql/ through --inputdir.
REGRESS = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --load-extension=referral

# Bitcode for JIT inlining is of no use here and needs clang; "make with_llvm=yes" builds it all the same.
ifneq ($(origin with_llvm),command line)
override with_llvm = no
endif

# PG_CONFIG: as given; else that of PGMAJOR; else that of 15, of the newest installed major, or on the PATH.
# Only one with server headers counts. It stays empty when there is none; then "make deps" installs PGMAJOR.
ifndef PG_CONFIG
pg_configs = /usr/lib/postgresql/$(or $(PGMAJOR),15)/bin/pg_config \
  $(if $(PGMAJOR),,$$(ls -d /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -rV) pg_config)
PG_CONFIG := $(shell for c in $(pg_configs); do \
  if [ -e "$$($$c --includedir-server 2>/dev/null)/postgres.h" ]; then echo $$c; break; fi; done)
endif
ifndef PGMAJOR
PGMAJOR := $(or $(if $(PG_CONFIG),$(shell $(PG_CONFIG) --version 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/')),15)
endif
export PG_CONFIG PGMAJOR

.PHONY: all install installcheck deps test demo demo-stop bench check-style clean clean-scratch help print-pg_config

all: ## build the library and the install script (default)
install: ## install into PostgreSQL's own directories (or below DESTDIR)
installcheck: ## run test/sql against the running server that PGHOST, PGPORT, ... name
clean: clean-scratch ## remove what was built, and all private clusters

PGXS := $(if $(PG_CONFIG),$(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null)))
ifneq ($(PGXS),)
include $(PGXS)
$(OBJS): $(wildcard src/*.h) Makefile
else
all install installcheck:
	@echo "PostgreSQL's server headers were not found: run 'make deps', or name a PG_CONFIG" >&2; exit 1
endif

# The two directories are prerequisites so that a removed part is noticed too.
$(DATA_built): sql $(wildcard sql/[0-9]*_*.sql sql/model sql/model/[0-9]*_*.sql) sql/build.sh
	bash sql/build.sh > $@.tmp
	mv $@.tmp $@

deps: ## install the missing Debian packages (PGMAJOR=15)
	@bash test/lib/deps.sh

test: ## build and run all tests in private clusters; SUITE="regress isolation pgtap tap", FILES="journal rule" narrow it
	@SUITE='$(SUITE)' FILES='$(FILES)' bash test/run.sh

demo: ## build, start a private cluster (in place of an earlier demo's), show the extension at work, leave it up
	@bash test/demo/demo.sh start

demo-stop: ## stop the demo's cluster and remove it with everything in it
	@bash test/demo/demo.sh stop

bench: ## build and run the benchmarks in a private cluster; FILES, BENCH_SECTIONS="1 2", BENCH_QUICK=1 narrow it
	@FILES='$(FILES)' bash test/bench/run.sh

# Alignment is not compared: clang-format cannot align declarations on tab stops as pgindent does.
check-style: ## compare the C code with .clang-format and 100 columns (only warns)
	@command -v clang-format >/dev/null || echo "clang-format is not installed: only the length of lines is checked"
	@for f in src/*.[ch]; do \
	  expand -t4 $$f | awk -v f=$$f 'length > 100 { print f ":" FNR ": longer than 100 columns" }'; \
	  if command -v clang-format >/dev/null; then clang-format $$f | diff -wU0 --label $$f --label wanted $$f -; fi; \
	done; true

clean-scratch:
	@bash test/lib/harness.sh clean

print-pg_config:
	@echo $(PG_CONFIG)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r t d; do \
	  printf '  %-13s %s\n' "$$t" "$$d"; done
