# biometric_audit: sealed biometric images, one door, one ledger.
#
#   make            builds the extension (PGXS)
#   make install    installs it into the server that pg_config names
#   make setup      installs what is missing from the distribution's packages
#   make demo       runs the main job on a throw-away cluster
#   make test       runs the whole suite on throw-away clusters (TESTS=pattern: some of it)
#   make unit       unit tests of extension/core, without a server
#   make bench      the benchmark
#   make lint       format, spelling, layering, exported symbols, SQL
#   make format     brings the C sources into the house's format
#   make dist       a zip for PGXN
#
#   PG_CONFIG=...   the pg_config of the server to build for
#   WERROR=1        warnings are errors
#   SETUP=:         demo, test, lint and bench do not look for missing packages

EXTENSION = extension/biometric_audit
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" extension/biometric_audit.control)
MODULE_big = biometric_audit

SOURCES = $(filter-out extension/tool/% extension/reporter/%,$(sort $(wildcard extension/*.c extension/*/*.c)))
OBJS = $(SOURCES:.c=.o)

# The program that checks a ledger without a server: core/ and tool/, OpenSSL and libpq.
TOOL = extension/biometric-verify
TOOL_SOURCES = $(sort $(wildcard extension/core/*.c extension/tool/*.c))
TOOL_OBJS = $(TOOL_SOURCES:.c=.tool.o)
TOOL_MANUAL = doc/biometric-verify.1

# The program that reports what a party received: the same, and reporter/ in the place of main.
REPORTER = extension/biometric-report
REPORTER_SOURCES = $(sort $(filter-out extension/tool/main.c,$(TOOL_SOURCES)) \
	$(wildcard extension/reporter/*.c))
REPORTER_OBJS = $(REPORTER_SOURCES:.c=.tool.o)
REPORTER_MANUAL = doc/biometric-report.1

# The program that keeps a keyring in a PKCS#11 token: a script, by pkcs11-tool.
PKCS11 = extension/keyring/biometric-keyring-pkcs11
PKCS11_MANUAL = doc/biometric-keyring-pkcs11.1

PROGRAMS = $(TOOL) $(REPORTER)
PROGRAM_OBJS = $(sort $(TOOL_OBJS) $(REPORTER_OBJS))
MANUALS = $(TOOL_MANUAL) $(REPORTER_MANUAL) $(PKCS11_MANUAL)
SQL_PARTS = $(sort $(wildcard sql/[0-9]*.sql))
INSTALL_SQL = extension/biometric_audit--$(EXTVERSION).sql
DATA = $(INSTALL_SQL)
KINDS = face plate document fingerprint iris
SLICES = 00 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15

# Inlining by the JIT has nothing to gain here, and bitcode would need clang.
override with_llvm = no

# Before 16 the server's headers leave it empty, and then -fvisibility=hidden hides all.
PG_CPPFLAGS = -Iinclude -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CFLAGS = -std=gnu11 -fvisibility=hidden -Wall -Wextra -Wno-unused-parameter \
	-Wno-sign-compare -Wno-missing-field-initializers $(if $(WERROR),-Werror) -MMD -MP
SHLIB_LINK = -lcrypto -ljpeg -lpng
BUILD_FLAGS = extension/.build-flags
SQL_LIST = extension/.build-sql
EXTRA_CLEAN = $(INSTALL_SQL) $(SOURCES:.c=.d) $(BUILD_FLAGS) $(SQL_LIST) \
	$(PROGRAMS) $(PROGRAM_OBJS) $(PROGRAM_OBJS:.o=.d)

PG_CONFIG ?= pg_config
SETUP ?= .ci/setup
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

# What needs no server to be there yet: it is installed on the way.
HOUSE_GOALS = setup demo test unit bench lint format dist

ifneq ($(PGXS),)
include $(PGXS)

all: $(INSTALL_SQL) $(PROGRAMS)

-include $(SOURCES:.c=.d) $(PROGRAM_OBJS:.o=.d)

# Nothing of the server's: neither its headers nor its flags.
TOOL_CFLAGS = -std=gnu11 -O2 -g -Wall -Wextra -Wno-unused-parameter \
	-Wno-missing-field-initializers $(if $(WERROR),-Werror) -MMD -MP -Iinclude \
	-I$(shell $(PG_CONFIG) --includedir) -DVERSION='"$(EXTVERSION)"'

%.tool.o: %.c $(BUILD_FLAGS)
	$(CC) $(TOOL_CFLAGS) -c -o $@ $<

$(TOOL): $(TOOL_OBJS)
$(REPORTER): $(REPORTER_OBJS)
$(PROGRAMS):
	$(CC) -o $@ $^ -L$(libdir) -lpq -lcrypto

install: install-tool
installdirs: installdirs-tool
uninstall: uninstall-tool
.PHONY: install-tool installdirs-tool uninstall-tool
install-tool: $(PROGRAMS) installdirs
	$(INSTALL_PROGRAM) $(PROGRAMS) '$(DESTDIR)$(bindir)/'
	$(INSTALL_SCRIPT) $(PKCS11) '$(DESTDIR)$(bindir)/'
	$(INSTALL_DATA) $(MANUALS) '$(DESTDIR)$(mandir)/man1/'
installdirs-tool:
	$(MKDIR_P) '$(DESTDIR)$(bindir)' '$(DESTDIR)$(mandir)/man1'
uninstall-tool:
	rm -f $(PROGRAMS:extension/%='$(DESTDIR)$(bindir)/%') '$(DESTDIR)$(bindir)/$(notdir $(PKCS11))' \
		$(MANUALS:doc/%='$(DESTDIR)$(mandir)/man1/%')

# Objects are built again when the compiler or its flags have changed.
CURRENT_FLAGS := $(CC) $(CFLAGS) $(CPPFLAGS) $(VERSION) $(EXTVERSION)
ifneq ($(CURRENT_FLAGS),$(file <$(BUILD_FLAGS)))
.PHONY: $(BUILD_FLAGS)
endif
$(BUILD_FLAGS):
	@printf '%s' '$(subst ','\'',$(CURRENT_FLAGS))' > $@
$(OBJS): $(BUILD_FLAGS)

# sql/NN_name.sql in the order of their numbers; sql/NN_name.kind.sql once a
# kind, sql/NN_name.slice.sql once a slice of the entries. Built again also when
# a part was added or taken away.
ifneq ($(SQL_PARTS),$(file <$(SQL_LIST)))
.PHONY: $(SQL_LIST)
endif
$(SQL_LIST):
	@printf '%s' '$(SQL_PARTS)' > $@

$(INSTALL_SQL): $(SQL_PARTS) $(SQL_LIST) Makefile
	@echo "building $@"
	@{ \
		printf '%s\n' '\echo Use "CREATE EXTENSION biometric_audit" to load this file. \quit' && \
		for file in $(SQL_PARTS); do \
			case $$file in \
			*.kind.sql) for kind in $(KINDS); do sed "s/@KIND@/$$kind/g" $$file || exit; done ;; \
			*.slice.sql) for slice in $(SLICES); do sed "s/@SLICE@/$$slice/g" $$file || exit; done ;; \
			*) cat $$file || exit ;; \
			esac; \
		done; \
	} > $@.new && mv $@.new $@

else ifneq ($(filter-out $(HOUSE_GOALS),$(or $(MAKECMDGOALS),all)),)
$(error "$(PG_CONFIG)" finds no server to build for. Try "make setup", or set PG_CONFIG to the \
	pg_config of PostgreSQL 15 or later with its development files)
endif

.PHONY: $(HOUSE_GOALS)

# These start with packages that may be missing, so that the first command
# after a clone can be any of them. make runs again in the scripts: only then
# is there a pg_config to ask.
export PG_CONFIG WERROR TESTS PROVE_FLAGS

setup:
	@.ci/setup

demo:
	@$(SETUP) build demo
	@test/demo/demo

test:
	@$(SETUP) build test
	@test/run

unit:
	@$(SETUP) build
	$(MAKE) -C test/unit check

bench:
	@$(SETUP) build bench
	@test/bench/run

lint:
	@$(SETUP) build lint
	@test/lint/run

format:
	clang-format -i $(wildcard extension/*.c extension/*/*.c include/*/*.h test/unit/*.[ch] test/bench/*.[ch])

dist:
	git archive --format zip --prefix=biometric_audit-$(EXTVERSION)/ \
		-o biometric_audit-$(EXTVERSION).zip HEAD
