# make run [CONFIG=path.yaml]  start everything in the foreground; ctrl-C stops it
# make test                    check, then every test; installs what they need
# make check                   lint, format, types, layering
# make bench                   measure, and print the figures
# make soak                    long runs: a million damaged inputs, faults at full length, leaks

.PHONY: run test check bench soak

run: .venv/installed
	.venv/bin/python -m common.supervision $(if $(CONFIG),--config "$(CONFIG)")

test: check .venv/test-packages
	.venv/bin/pytest

check: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/installed-dev .venv/test-packages
	.venv/bin/python -m tests.bench

soak: .venv/installed-dev .venv/test-packages
	.venv/bin/python -m tests.fuzz
	.venv/bin/pytest -m soak -s
	CCTV3_TEST_OUTAGE_S=20 .venv/bin/pytest tests/peers/test_faults.py

.venv/bin/pip: deploy/make-venv.sh
	$< .venv

.venv/installed: pyproject.toml .venv/bin/pip
	.venv/bin/pip install --quiet --editable .
	touch $@

.venv/installed-dev: pyproject.toml .venv/bin/pip
	.venv/bin/pip install --quiet --editable '.[dev]'
	touch $@ .venv/installed

.venv/test-packages: deploy/install-test-packages.sh .venv/bin/pip
	$<
	touch $@
