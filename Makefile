# Builds, installs and tests libsam. GNU names: prefix, exec_prefix, bindir, libdir, includedir,
# mandir, datadir, DESTDIR.

prefix      = /usr/local
exec_prefix = $(prefix)
bindir      = $(exec_prefix)/bin
libdir      = $(exec_prefix)/lib
includedir  = $(prefix)/include
datadir     = $(prefix)/share
mandir      = $(datadir)/man
DESTDIR     =
INSTALL     = install
CARGO       = cargo
CC          = cc
# The platform that the library is for, in rustc's words. For another machine than this one, CC is its compiler:
# make TARGET=aarch64-unknown-linux-gnu CC=aarch64-linux-gnu-gcc
TARGET      = $(CARGO_BUILD_TARGET)
# Options for linking the library. -fuse-ld=lld links with lld instead of the system's linker.
LDFLAGS    ?=
# no: leave out <corosync/corotypes.h>, where corosync's own is installed.
COROTYPES   = yes
# no: install with the symbols for debuggers, for a package build, which takes them out itself. Otherwise those of the
# library are in a file beside it, where debuggers look, and the programs have none.
STRIP       = yes
OBJCOPY     = $(shell $(CC) -print-prog-name=objcopy)
# no: leave the cache of the dynamic loader alone. Only an installation without DESTDIR updates it.
LDCONFIG    = ldconfig

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
built   = $(target)/$(if $(TARGET),$(TARGET)/)$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
library = $(built)/libsam.so
# Every program in tools but the one that makes the headers.
programs = $(filter-out headers,$(patsubst tools/%/Cargo.toml,%,$(wildcard tools/*/Cargo.toml)))
# Newer than what the library and the programs were made from.
stamp   = $(built)/libsam.stamp
sources = Cargo.toml Cargo.lock build.rs $(wildcard tools/*/build.rs) src/capi/exports.map $(programs:%=tools/%/Cargo.toml) \
    $(shell find src $(programs:%=tools/%/src) -name '*.rs')
# The programs that have completions, and where bash, zsh and fish look for them.
completed   = sam-run sam-status
bash_dir    = $(datadir)/bash-completion/completions
zsh_dir     = $(datadir)/zsh/vendor-completions
fish_dir    = $(datadir)/fish/vendor_completions.d
demo    = $(target)/demo
stage   = $(abspath $(target))/$(if $(filter dev,$(PROFILE)),dev-prefix,prefix)

headers  = sam.h $(if $(filter no,$(COROTYPES)),,corotypes.h)
sections = $(sort $(subst .,,$(suffix $(wildcard man/*))))

bench_programs = $(patsubst benches/%.c,$(target)/bench/%,$(wildcard benches/*.c)) $(target)/bench/empty-linked

# What `make test` runs, in cargo's words: everything unless told.
TESTS =
# For dpkg-buildpackage and rpmbuild, such as -d and --nodeps where cargo and rustc came in no package.
DEB_FLAGS =
RPM_FLAGS =

.PHONY: all install install-strip uninstall header completions demo check test try faults soak explore models miri fuzz test-packages \
    bench bench-chart bench-packages lint dist deb rpm need-deb need-rpm check-fresh check-packages check-builds check-upgrade \
    check-systemd check-programs compare-run check-architectures clean stage

# cargo has a variable for the compiler driver that links for a platform. Whoever sets that has chosen.
ifneq ($(TARGET),)
ifneq ($(CC),cc)
linker_variable := CARGO_TARGET_$(shell echo '$(TARGET)' | tr a-z- A-Z_)_LINKER
$(linker_variable) ?= $(CC)
export $(linker_variable)
endif
endif

# For cargo, a variable that is empty differs from one that is not set.
ifeq ($(LDFLAGS),)
unexport LDFLAGS
else
export LDFLAGS
endif

define newline


endef
# Says what to do in a checkout that belongs to somebody else, before anything is installed or built.
writable = @mkdir -p $(target) 2>/dev/null && [ -w $(target) ] || { \
    echo 'cannot write to $(target): set CARGO_TARGET_DIR to a folder that can be written' >&2; exit 1; }

# cargo knows what is out of date. sam-run links with the library, so it is built after that. One command for each package,
# because in one command the crates that both use would be built with the features that either wants.
define build
$(writable)
tools/cargo-build $(built) $(CARGO) build --profile $(PROFILE) $(TARGET:%=--target %) --package libsam
$(foreach program,$(programs),tools/cargo-build $(built) $(CARGO) build --profile $(PROFILE) $(TARGET:%=--target %) --package $(program)$(newline))
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
installed = $(programs:%='$(DESTDIR)$(bindir)/%') \
    $(patsubst %,'$(DESTDIR)$(libdir)/%',$(real) $(real).debug $(soname) libsam.so pkgconfig/libsam.pc) \
    $(headers:%='$(DESTDIR)$(includedir)/corosync/%') \
    $(foreach section,$(sections),$(patsubst man/%,'$(DESTDIR)$(mandir)/man$(section)/%',$(wildcard man/*.$(section)))) \
    $(foreach program,$(completed),'$(DESTDIR)$(bash_dir)/$(program)' '$(DESTDIR)$(zsh_dir)/_$(program)' \
        '$(DESTDIR)$(fish_dir)/$(program).fish')
# FORCE=1 overwrites and deletes files of a package, too.
refuse_owned = $(if $(filter 1,$(FORCE)),,packaging/refuse-owned $(installed))
# What the dynamic loader finds is for the machine itself.
update_loader = $(if $(DESTDIR)$(filter no,$(LDCONFIG)),,LDCONFIG='$(LDCONFIG)' packaging/update-loader $(1))

install: $(stamp)
	$(refuse_owned)
	$(INSTALL) -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(libdir)/pkgconfig' '$(DESTDIR)$(includedir)/corosync' \
	    $(sections:%='$(DESTDIR)$(mandir)/man%')
	$(INSTALL) -m 755 $(programs:%=$(built)/%) '$(DESTDIR)$(bindir)'
	$(INSTALL) -m 755 $(library) '$(DESTDIR)$(libdir)/$(real)'
ifeq ($(STRIP),no)
	rm -f '$(DESTDIR)$(libdir)/$(real).debug'
else
	$(OBJCOPY) --only-keep-debug $(library) '$(DESTDIR)$(libdir)/$(real).debug'
	chmod 644 '$(DESTDIR)$(libdir)/$(real).debug'
	$(OBJCOPY) --strip-unneeded --add-gnu-debuglink='$(DESTDIR)$(libdir)/$(real).debug' '$(DESTDIR)$(libdir)/$(real)'
	for program in $(programs); do $(OBJCOPY) --strip-unneeded '$(DESTDIR)$(bindir)'/$$program || exit 1; done
endif
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
	$(INSTALL) -d '$(DESTDIR)$(bash_dir)' '$(DESTDIR)$(zsh_dir)' '$(DESTDIR)$(fish_dir)'
	for program in $(completed); do \
	    folder=tools/$$program/completions && \
	    $(INSTALL) -m 644 $$folder/$$program.bash '$(DESTDIR)$(bash_dir)'/$$program && \
	    $(INSTALL) -m 644 $$folder/_$$program '$(DESTDIR)$(zsh_dir)' && \
	    $(INSTALL) -m 644 $$folder/$$program.fish '$(DESTDIR)$(fish_dir)' || exit 1; \
	done
	$(call update_loader,'$(libdir)/$(soname)')

# GNU's name of it, where stripping is not what `install` does.
install-strip: install

uninstall:
	$(refuse_owned)
	rm -f $(installed)
	packaging/remove-folders '$(DESTDIR)$(prefix)' $(installed)
	$(call update_loader)

# Writes what cbindgen makes of src/capi.rs to include/corosync.
header:
	$(CARGO) run --quiet --package headers

# Writes the completions of the programs.
completions:
	UPDATE_COMPLETIONS=1 $(CARGO) test --quiet $(completed:%=--package %) completions

# Where the tests find what a user would have installed. No package owns a file there.
stage: all
	$(MAKE) install prefix='$(stage)' exec_prefix='$(stage)' bindir='$(stage)/bin' libdir='$(stage)/lib' \
	    includedir='$(stage)/include' datadir='$(stage)/share' mandir='$(stage)/share/man' DESTDIR= COROTYPES=yes \
	    STRIP=no LDCONFIG=no FORCE=1

# Supervises a small daemon while it is crashed and hung. The library is built without optimisation for it, because that
# takes a quarter of the time.
demo:
	$(writable)
	@echo 'Fetching crates ..'
	@$(CARGO) fetch --quiet
	@echo 'Building the library, without optimisation ..'
	@tools/cargo-build '$(demo)' $(CARGO) build --quiet --package libsam
	@ln -sf libsam.so '$(demo)/$(soname)'
	@echo 'Building the daemon and its client ..'
	@$(CC) -std=c99 -D_GNU_SOURCE -Wall -Wextra -O2 -Iinclude demo/counter.c -o '$(demo)/counter' \
	    -L'$(demo)' -lsam -Wl,-rpath,'$(abspath $(demo))'
	@$(CARGO) run --quiet --package demo -- '$(demo)/counter'

# What is done to a supervised program, and what becomes of it: one table, also part of check.
faults: test-packages stage
	SAM_PREFIX='$(stage)' $(CARGO) test --quiet --test faults

# Hundreds of supervised programs under random attack: make soak SECONDS=3600.
# SEED=n repeats a run, SAM_STANDBY=1 is taken over by faults and soak. check runs fewer programs for less time.
soak: export SOAK_SECONDS = $(SECONDS)
soak: export SOAK_SLOTS = 300
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
	$(writable)
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
	$(CARGO) run --quiet --manifest-path benches/Cargo.toml --target-dir $(target) -- \
	    $(if $(QUICK),--quick) $(target)/bench '$(stage)/lib'

# Keeps the pictures and the tables of the last comparison.
bench-chart:
	$(INSTALL) -m 644 $(target)/bench/bench.svg $(target)/bench/bench-growth.svg docs
	sed -i -e '/^<!-- tables -->/,/^<!-- end of tables -->/{/^<!--/!d}' \
	    -e '/^<!-- tables -->/r $(target)/bench/results.md' docs/benchmarks.md

# Linked to what Debian has: the same programs run with both libraries.
$(target)/bench/%: benches/%.c $(wildcard benches/*.h) | bench-packages
	@mkdir -p $(@D)
	$(CC) -std=c99 -D_GNU_SOURCE -Wall -Wextra -O2 $< -o $@ -Wl,--as-needed -lsam -lsystemd

$(target)/bench/empty-linked: benches/empty.c | bench-packages
	@mkdir -p $(@D)
	$(CC) -std=c99 -Wall -Wextra -O2 $< -o $@ -Wl,--no-as-needed -lsam

bench-packages:
	tests/install-packages runit s6 libsystemd-dev

lint:
	@tests/need lint rustfmt=rustfmt cargo-clippy=rust-clippy
	$(CARGO) fmt --all --check
	rustfmt --check --edition 2024 benches/main.rs fuzz/targets/*.rs loom/src/lib.rs loom/tests/*.rs
	RUSTFLAGS='$(RUSTFLAGS) --cfg loom' $(CARGO) clippy --manifest-path loom/Cargo.toml --target-dir $(target)/loom \
	    --lib --test models -- -D warnings
	$(CARGO) clippy --manifest-path benches/Cargo.toml --target-dir $(target) -- -D warnings
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) run --quiet --package headers -- --check
	CARGO='$(CARGO)' packaging/crates --check
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --no-deps
	@if command -v codespell >/dev/null; then echo codespell; codespell; \
	    else echo 'Skipped: the spelling check needs codespell, which make test-packages installs.'; fi

# The sources with all crates in one file, from which packages are built without a network.
dist:
	packaging/dist $(version) $(target)/dist

need-deb:
	@tests/need deb git=git xz=xz-utils dpkg-buildpackage=dpkg-dev dh=debhelper

need-rpm:
	@tests/need rpm git=git xz=xz-utils rpmbuild=rpm

# Debian packages, for a Debian of 13 or later, in target/deb.
deb: need-deb dist
	packaging/deb $(target)/dist/libsam-$(version).tar.xz $(target)/deb $(DEB_FLAGS)

# RPM packages, in target/rpm/RPMS.
rpm: need-rpm dist
	rpmbuild -bb $(RPM_FLAGS) --define '_topdir $(abspath $(target))/rpm' \
	    --define '_sourcedir $(abspath $(target))/dist' packaging/rpm/libsam.spec

# Follows the section "Try it" of README on a new Debian 13, by root and by an ordinary user, and runs make lint there.
# make check-fresh SUITE=sid takes Debian unstable, SETTING=root or SETTING=user is one of the two.
SUITE   ?= trixie
SETTING ?= root user
check-fresh:
	tests/check-fresh $(abspath $(target)) '$(SUITE)' $(SETTING)

# Builds the packages, installs them on a Debian 13 without anything else, and removes them again.
check-packages: dist
	packaging/check $(version) $(abspath $(target))

# Builds the library in the ways that users and packagers choose, and checks each.
check-builds: dist
	tests/check-builds $(version) $(abspath $(target))

# Runs a program on the library of the commit OLD, such as the tag of the last release, under the new sam-status, and the
# reverse.
OLD = ccf7286
check-upgrade: stage
	tests/check-upgrade '$(OLD)' $(abspath $(target)) '$(stage)'

# Runs supervised programs as services of a real systemd, in a container: make check-systemd TEST=watchdog for some of
# the tests. Needs root, and the packages systemd-container and debootstrap.
check-systemd: stage
	tests/check-systemd $(abspath $(target)) '$(stage)' '$(TEST)'

# Runs daemons of Debian under sam-run, and crashes, hangs and ends them: make check-programs WORD=redis for some of the
# tests. The daemons are unpacked into target/programs.
WORD =
check-programs: stage
	tests/check-programs '$(stage)' '$(target)' '$(WORD)'

# Compares sam-run with other supervisors of containers, and writes the table of docs/sam-run.md.
compare-run: stage
	tools/compare-run '$(stage)' '$(target)' docs/sam-run.md

# Builds for other architectures, and tests on Debian's kernels for them in qemu: make check-architectures
# ARCHITECTURES='arm64 i386' for some of them.
ARCHITECTURES =
check-architectures: dist
	tests/check-architectures $(version) $(abspath $(target)) $(ARCHITECTURES)

clean:
	$(CARGO) clean
