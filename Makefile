# make run [CONFIG=path.yaml]  start everything in the foreground; ctrl-C stops it
# make test                    check, then every test; installs what they need
# make check                   lint, format, types, layering
# make bench                   measure, and print the figures
# make soak                    long runs: two million damaged inputs, faults at full length, leaks

.PHONY: run test check bench soak
# From left to right: the test packages bring the compiler that the package's fast send path is built with.
.NOTPARALLEL:

run: .venv/installed
	.venv/bin/python -m common.supervision $(if $(CONFIG),--config "$(CONFIG)")

test: .venv/test-packages check
	.venv/bin/pytest -n 2 --dist worksteal

check: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/test-packages .venv/installed-dev
	.venv/bin/python -m tests.bench

soak: .venv/test-packages .venv/installed-dev
	.venv/bin/python -m tests.fuzz
	.venv/bin/pytest -m soak -s
	CCTV3_TEST_OUTAGE_S=20 .venv/bin/pytest tests/peers/test_faults.py

.venv/bin/pip: deploy/make-venv.sh
	$< .venv

.venv/installed: pyproject.toml fanout/egress_kernel.c .venv/bin/pip
	rm -f fanout/_egress.*.so
	.venv/bin/pip install --quiet --editable .
	touch $@

.venv/installed-dev: pyproject.toml fanout/egress_kernel.c .venv/bin/pip
	rm -f fanout/_egress.*.so
	.venv/bin/pip install --quiet --editable '.[dev]'
	touch $@ .venv/installed

.venv/test-packages: deploy/install-test-packages.sh .venv/bin/pip
	$<
	touch $@
	rm -f .venv/installed-dev  # it may have been installed without a compiler
