# Builds, installs and tests libsam. GNU names: prefix, exec_prefix, bindir, libdir, includedir,
# mandir, DESTDIR.

prefix      = /usr/local
exec_prefix = $(prefix)
bindir      = $(exec_prefix)/bin
libdir      = $(exec_prefix)/lib
includedir  = $(prefix)/include
mandir      = $(prefix)/share/man
DESTDIR     =
INSTALL     = install
CARGO       = cargo
CC          = cc
# Options for linking the library. -fuse-ld=lld links with lld instead of the system's linker.
LDFLAGS    ?=
# no: leave out <corosync/corotypes.h>, where corosync's own is installed.
COROTYPES   = yes

version = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
# The corosync API level that we match.
api    = 3.1.10
soname = libsam.so.4
real   = libsam.so.4.4.0

# release, or dev for builds that are quick to make.
PROFILE = release

target  = $(or $(CARGO_TARGET_DIR),target)
ifneq ($(words $(target)),1)
$(error CARGO_TARGET_DIR is "$(target)": make cannot work with a space in it. One in the path of this folder does no harm)
endif
built   = $(target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
library = $(built)/libsam.so
program = $(built)/sam-status
# Newer than what the library and the program were made from.
stamp   = $(built)/libsam.stamp
sources = Cargo.toml Cargo.lock build.rs src/capi/exports.map tools/sam-status/Cargo.toml \
    $(shell find src tools/sam-status/src -name '*.rs')
stage   = $(abspath $(target))/$(if $(filter dev,$(PROFILE)),dev-prefix,prefix)

headers  = sam.h $(if $(filter no,$(COROTYPES)),,corotypes.h)
sections = 3 8

bench_programs = $(patsubst benches/%.c,$(target)/bench/%,$(wildcard benches/*.c)) $(target)/bench/empty-linked

# What `make test` runs, in cargo's words: everything unless told.
TESTS =
# For dpkg-buildpackage and rpmbuild, such as -d and --nodeps where cargo and rustc came in no package.
DEB_FLAGS =
RPM_FLAGS =

.PHONY: all install install-strip uninstall header demo check test try faults soak explore models miri fuzz test-packages \
    bench bench-chart bench-packages lint dist deb rpm check-packages check-builds check-systemd clean stage

# For cargo, a variable that is empty differs from one that is not set.
ifeq ($(LDFLAGS),)
unexport LDFLAGS
else
export LDFLAGS
endif

# cargo knows what is out of date.
define build
$(CARGO) build --profile $(PROFILE) --package libsam --package sam-status
tools/check-library $(library)
@touch $(stamp)
endef

all:
	$(build)

# For `make install`, which runs without cargo once everything is built.
$(stamp): $(sources)
	$(build)

# pkg-config takes a space for the end of an option, unless a backslash is before it; sed takes two for one.
space := $() $()
in_pc = $(subst $(space),\\ ,$(1))
# Paths in libsam.pc begin with its own ${prefix} and ${exec_prefix} where they are below these, so that pkg-config can
# relocate them. patsubst would take a path with a space for two; ^ marks the beginning and the end of the path.
under_prefix      = $(subst ^,,$(subst ^$(prefix)/,$${prefix}/,$(subst ^$(prefix)^,$${prefix},^$(1)^)))
under_exec_prefix = $(subst ^,,$(subst ^$(exec_prefix)/,$${exec_prefix}/,^$(1)^))

# Every file that `make install` writes, in quotes.
installed = '$(DESTDIR)$(bindir)/sam-status' $(patsubst %,'$(DESTDIR)$(libdir)/%',$(real) $(soname) libsam.so pkgconfig/libsam.pc) \
    $(headers:%='$(DESTDIR)$(includedir)/corosync/%') \
    $(foreach section,$(sections),$(patsubst man/%,'$(DESTDIR)$(mandir)/man$(section)/%',$(wildcard man/*.$(section))))
# FORCE=1 overwrites and deletes files of a package, too.
refuse_owned = $(if $(filter 1,$(FORCE)),,packaging/refuse-owned $(installed))

install: $(stamp)
	$(refuse_owned)
	$(INSTALL) -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(libdir)/pkgconfig' '$(DESTDIR)$(includedir)/corosync' \
	    $(sections:%='$(DESTDIR)$(mandir)/man%')
	$(INSTALL) -m 755 $(program) '$(DESTDIR)$(bindir)/sam-status'
	$(INSTALL) -m 755 $(library) '$(DESTDIR)$(libdir)/$(real)'
	ln -sf $(real) '$(DESTDIR)$(libdir)/$(soname)'
	ln -sf $(soname) '$(DESTDIR)$(libdir)/libsam.so'
	sed -e 's|@prefix@|$(call in_pc,$(prefix))|' \
	    -e 's|@exec_prefix@|$(call in_pc,$(call under_prefix,$(exec_prefix)))|' \
	    -e 's|@libdir@|$(call in_pc,$(call under_prefix,$(call under_exec_prefix,$(libdir))))|' \
	    -e 's|@includedir@|$(call in_pc,$(call under_prefix,$(includedir)))|' \
	    -e 's|@api@|$(api)|' libsam.pc.in > '$(DESTDIR)$(libdir)/pkgconfig/libsam.pc'
	chmod 644 '$(DESTDIR)$(libdir)/pkgconfig/libsam.pc'
	$(INSTALL) -m 644 $(headers:%=include/corosync/%) '$(DESTDIR)$(includedir)/corosync'
	for section in $(sections); do \
	    $(INSTALL) -m 644 man/*.$$section '$(DESTDIR)$(mandir)/man'$$section || exit 1; \
	done

install-strip: install
	strip --strip-unneeded '$(DESTDIR)$(libdir)/$(real)' '$(DESTDIR)$(bindir)/sam-status'

uninstall:
	$(refuse_owned)
	rm -f $(installed)

# Writes what cbindgen makes of src/capi.rs to include/corosync.
header:
	$(CARGO) run --quiet --package headers

# Where the tests find what a user would have installed. No package owns a file there.
stage: all
	$(MAKE) install prefix='$(stage)' exec_prefix='$(stage)' bindir='$(stage)/bin' libdir='$(stage)/lib' \
	    includedir='$(stage)/include' mandir='$(stage)/share/man' DESTDIR= COROTYPES=yes FORCE=1

# Supervises a small daemon while it is crashed and hung.
demo: stage
	$(CC) -std=c99 -D_GNU_SOURCE -Wall -Wextra -O2 -I'$(stage)/include' demo/counter.c -o $(target)/counter \
	    -L'$(stage)/lib' -lsam -Wl,-rpath,'$(stage)/lib'
	$(CARGO) run --quiet --example demo -- $(target)/counter

# What is done to a supervised program, and what becomes of it: one table, also part of check.
faults: test-packages stage
	SAM_PREFIX='$(stage)' $(CARGO) test --quiet --test faults

# Hundreds of supervised programs under random attack: make soak SECONDS=3600; also part of check, for a minute.
# SEED=n repeats a run, SAM_STANDBY=1 is taken over by faults and soak.
soak: export SOAK_SECONDS = $(SECONDS)
soak: SECONDS = 60
soak: test-packages stage
	SAM_PREFIX='$(stage)' $(CARGO) test --quiet --test soak

# All tests, also after one that failed; what each has printed is in target/check.log.
check: test-packages
	@$(MAKE) -s --no-print-directory stage
	@SAM_PREFIX='$(stage)' tests/check $(target)/check.log '$(CARGO) test --workspace' \
	    "env RUSTFLAGS='$(RUSTFLAGS) --cfg loom' $(CARGO) test --manifest-path loom/Cargo.toml --target-dir $(target)/loom"

test: stage
	SAM_PREFIX='$(stage)' $(CARGO) test --workspace --no-fail-fast $(TESTS)

# A few tests, with a library that is built without optimisation: make try TESTS='--test faults "SIGCHLD ignored"'.
try:
	@$(MAKE) -s --no-print-directory PROFILE=dev test

# Every sequence of events on the supervisor's state machine, up to a depth: make explore DEPTH=10 for another than each
# search has of its own. Needs memory: about 1 GB at its own depths.
explore:
	DEPTH='$(DEPTH)' $(CARGO) test --quiet --release --test explore -- --quiet

# The page and the store in every order that the memory model allows.
models:
	RUSTFLAGS='$(RUSTFLAGS) --cfg loom' $(CARGO) test --quiet --manifest-path loom/Cargo.toml --target-dir $(target)/loom

# The modules without system calls, interpreted. Needs a nightly toolchain with Miri (rustup component add miri).
miri:
	PROPTEST_CASES=256 MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) miri test --lib --target-dir $(target)/miri -- \
	    policy error settings supervisor::machine supervisor::restarts supervisor::log_event

# Installs what the tests need and this machine does not have.
test-packages:
	tests/install-packages

# Looks for bytes with which an instance could harm its supervisor or the next instance: make fuzz SECONDS=600. Needs a
# nightly toolchain and cargo-fuzz.
SECONDS = 60
fuzz:
	for target in page store settings; do \
	    $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(SECONDS) || exit 1; \
	done

# Compares with Debian's libsam4. QUICK=1 takes fewer samples.
bench: stage $(bench_programs)
	$(CARGO) run --quiet --example bench -- $(if $(QUICK),--quick) $(target)/bench '$(stage)/lib'

# Keeps the pictures of the last comparison.
bench-chart:
	$(INSTALL) -m 644 $(target)/bench/bench.svg $(target)/bench/bench-growth.svg docs

# Linked to what Debian has: the same programs run with both libraries.
$(target)/bench/%: benches/%.c benches/bench.h | bench-packages
	@mkdir -p $(@D)
	$(CC) -std=c99 -D_GNU_SOURCE -Wall -Wextra -O2 $< -o $@ -Wl,--as-needed -lsam -lsystemd

$(target)/bench/empty-linked: benches/empty.c | bench-packages
	@mkdir -p $(@D)
	$(CC) -std=c99 -Wall -Wextra -O2 $< -o $@ -Wl,--no-as-needed -lsam

bench-packages:
	tests/install-packages runit s6 libsystemd-dev

lint:
	$(CARGO) fmt --all --check
	rustfmt --check --edition 2024 fuzz/targets/*.rs loom/src/lib.rs loom/tests/*.rs
	RUSTFLAGS='$(RUSTFLAGS) --cfg loom' $(CARGO) clippy --manifest-path loom/Cargo.toml --target-dir $(target)/loom \
	    --lib --test models -- -D warnings
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) run --quiet --package headers -- --check
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --no-deps
	@if command -v codespell >/dev/null; then echo codespell; codespell; \
	    else echo 'Skipped: the spelling check needs codespell, which make test-packages installs.'; fi

# The sources with all crates in one file, from which packages are built without a network.
dist:
	packaging/dist $(version) $(target)/dist

# Debian packages, for a Debian of 13 or later, in target/deb.
deb: dist
	packaging/deb $(target)/dist/libsam-$(version).tar.xz $(target)/deb $(DEB_FLAGS)

# RPM packages, in target/rpm/RPMS.
rpm: dist
	rpmbuild -bb $(RPM_FLAGS) --define '_topdir $(abspath $(target))/rpm' \
	    --define '_sourcedir $(abspath $(target))/dist' packaging/rpm/libsam.spec

# Builds the packages, installs them on a Debian 13 without anything else, and removes them again.
check-packages: dist
	packaging/check $(version) $(abspath $(target))

# Builds the library in the ways that users and packagers choose, and checks each.
check-builds: dist
	tests/check-builds $(version) $(abspath $(target))

# Runs supervised programs as services of a real systemd, in a container: make check-systemd TEST=watchdog for some of
# the tests. Needs root, and the packages systemd-container and debootstrap.
check-systemd: stage
	tests/check-systemd $(abspath $(target)) '$(stage)' '$(TEST)'

clean:
	$(CARGO) clean
