# `make run` serves on :10066, `make test` runs the tests; CI runs .ci/run. Each target installs its prerequisites once:
# a stamp file marks each completed step, so that later runs need neither apt nor a package index.
PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
# Tests mostly wait, so two run concurrently; the tests of a file run in one process, because they share fixtures.
PYTEST := -m pytest --numprocesses=2 --dist=loadfile
LOCK_ARGS ?=
BENCH_ARGS ?=
SOAK_MINUTES ?= 5
DEMO_ARGS ?=
BUILD ?= docker build
IMAGE ?= socket-state-exporter:$(VERSION)
IMAGE_ARGS ?=
DEB_ARCH ?=
PYTHON_EMBED ?=
PYTHON_EMBED_SHA256 ?=

VENV := .venv
WHEEL_VENV := .venv-wheel
VERSION = $(shell sed -n 's/^__version__[^"]*"\(.*\)"$$/\1/p' exporter/__init__.py)
SOURCES := $(shell find exporter deploy grafana -name __pycache__ -prune -o -print) \
	pyproject.toml requirements.lock README.md LICENSE

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
# Concurrent test runs would compete for ports and CPU time.
.NOTPARALLEL:
# ip and nft are in sbin, which is not in every user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin
# PYTHONPATH could put the checkout before the installed wheel.
unexport PYTHONPATH

.PHONY: help
help: ## show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: run
run: $(VENV)/.installed ## install, then serve; set flags with ARGS="--web.listen-address=:9999"
	$(VENV)/bin/socket-state-exporter $(ARGS)

.PHONY: demo
demo: $(VENV)/.installed ## demonstrate alerts that fire and resolve, with Prometheus and Alertmanager on loopback; takes one minute
	@{ command -v prometheus && { command -v prometheus-alertmanager || command -v alertmanager; }; } >/dev/null || \
		.ci/apt-install prometheus prometheus-alertmanager
	@$(VENV)/bin/python -m tests.demo $(DEMO_ARGS)

.PHONY: test
test: lint test-source test-wheel ## lint, build, and test the sources and the wheel

.PHONY: lint
lint: $(VENV)/.locked ## run ruff, mypy, codespell
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell

.PHONY: test-source
test-source: $(VENV)/.installed tools ## run pytest on the checkout; PYTEST_ARGS="-k owners"
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python $(PYTEST) $(PYTEST_ARGS)

# A separate target: Chromium and its dependencies take 300 MB. If it is installed, `make test` runs these tests too.
.PHONY: test-browser
test-browser: $(VENV)/.installed ## test the status page in Chromium; installs Chromium if permitted
	command -v chromium >/dev/null || .ci/apt-install chromium || echo "not installed: chromium; its tests are skipped" >&2
	$(VENV)/bin/python -m pytest -m browser $(PYTEST_ARGS)

# A separate target: the npm packages take 100 MB. If they are installed, `make test` runs these tests too.
.PHONY: test-grafana
test-grafana: $(VENV)/.installed tools ## test tables of the dashboards with Grafana's own code; installs it from npm
	command -v npm >/dev/null || .ci/apt-install npm || true
	npm ci --silent --ignore-scripts --prefix tests/grafana/renderer || \
		echo "not installed: @grafana/data; its tests are skipped" >&2
	$(VENV)/bin/python -m pytest -m grafana $(PYTEST_ARGS)

# A separate target: it installs a minimal Debian as the base image, which takes most of its three minutes.
.PHONY: image-test
image-test: $(VENV)/.installed ## build the image without Docker, run it and scrape it; as root
	.ci/apt-install buildah debootstrap podman runc
	$(VENV)/bin/python -m pytest -m image tests/image $(PYTEST_ARGS)

.PHONY: image
image: ## build the image with Docker; BUILD="podman build --format=docker", IMAGE_ARGS="--no-cache"
	$(BUILD) --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION="$$(git rev-parse HEAD)" \
		--build-arg CREATED="$$(date --utc +%Y-%m-%dT%H:%M:%SZ)" $(IMAGE_ARGS) .

# Ten thousand requests, and clients that are disconnected only after their timeouts: three minutes.
.PHONY: test-abuse
test-abuse: $(VENV)/.installed tools ## test many scrapers, slow and malformed clients at full scale; prints measurements
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pytest tests/abuse --abuse $(PYTEST_ARGS)

# PYTHONSAFEPATH keeps the working directory off sys.path, also in the processes that tests start.
.PHONY: test-wheel
test-wheel: export PYTHONSAFEPATH := 1
test-wheel: export SOCKET_STATE_EXPORTER_WHEEL := 1
test-wheel: $(WHEEL_VENV)/.installed tools ## run pytest on the installed wheel
	$(WHEEL_VENV)/bin/python -c 'import exporter as e; assert "site-packages" in e.__file__, e.__file__'
	PATH="$(CURDIR)/$(WHEEL_VENV)/bin:$$PATH" $(WHEEL_VENV)/bin/python $(PYTEST) $(PYTEST_ARGS)

# A separate target: it installs a Debian of 300 MB below ~/.cache once, and boots copies of it.
.PHONY: test-install
test-install: deb ## test each installation method on a Debian with systemd in its own namespaces; as root
	.ci/apt-install debootstrap lintian openssl || echo "not installed: debootstrap, lintian, openssl; the tests that need them are skipped" >&2
	$(VENV)/bin/python -m pytest -m install $(PYTEST_ARGS)

# A separate target: Wine takes 600 MB, and the project's own suite in Windows' Python most of the ten minutes.
.PHONY: test-windows
test-windows: $(VENV)/.installed tools ## test the exporter in Windows' Python under Wine; as root
	.ci/apt-install wine wine64 wixl msitools || \
		echo "not installed: wine, wine64, wixl, msitools; the tests that need them are skipped" >&2
	$(VENV)/bin/python -m pytest -m wine tests/wine $(PYTEST_ARGS)

# matplotlib, which draws the chart, is installed here only, to keep `make test` small.
.PHONY: bench
bench: $(VENV)/.bench ## compare the cost with other exporters and tools; as root; BENCH_ARGS="--quick" takes one minute
	packages=$$($(VENV)/bin/python -m tests.benchmarks.programs); [[ -z $$packages ]] || \
		.ci/apt-install $$packages || echo "not installed: $$packages; the table lists what is missing" >&2
	$(VENV)/bin/python -m tests.benchmarks $(BENCH_ARGS)
	$(VENV)/bin/python -m tests.benchmarks.windows_rows

.PHONY: soak
soak: $(VENV)/.installed tools ## create and close sockets and processes for SOAK_MINUTES=5, and compare scrapes with ss and the processes; as root
	$(VENV)/bin/python -m tests.soak $(SOAK_MINUTES)

.PHONY: wheel
wheel: dist/.built ## build dist/*.whl and dist/*.tar.gz

.PHONY: deb
deb: dist/.packaged ## build dist/*.deb from the wheel; DEB_ARCH=arm64

.PHONY: windows
windows: dist/.built ## build the zip and the MSI for Windows; PYTHON_EMBED=FILE of python.org, PYTHON_EMBED_SHA256=
	command -v wixl msibuild >/dev/null || .ci/apt-install wixl msitools
	$(VENV)/bin/python -m deploy.windows $(if $(PYTHON_EMBED),--python "$(PYTHON_EMBED)" --python-sha256 "$(PYTHON_EMBED_SHA256)") \
		dist/*.whl dist

.PHONY: install
install: wheel ## install or upgrade below /opt, with the systemd service; as root
	deploy/systemd/install.sh dist/*.whl

.PHONY: uninstall
uninstall: ## uninstall, but keep the configuration; as root
	deploy/systemd/uninstall.sh

.PHONY: release
release: ## on a tagged commit: check tag, version and changelog, and build all artifacts
	tag=$$(git describe --exact-match --dirty) version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' exporter/__init__.py); \
		[[ $$tag == "v$$version" ]] || { echo "tag $$tag, but version $$version" >&2; exit 1; }; \
		[[ $$(head -n 1 CHANGELOG.md) =~ ^"## $$version / "[0-9-]{10}$$ ]] || \
		{ echo "CHANGELOG.md does not begin with '## $$version / DATE'" >&2; exit 1; }
	[[ -n "$(PYTHON_EMBED)" ]] || { echo "PYTHON_EMBED is required: see CONTRIBUTING.md" >&2; exit 1; }
	rm -rf dist
	$(MAKE) deb windows
	deploy/debian/build.sh $(VENV)/bin/python dist/*.whl dist arm64
	cd dist && sha256sum *.whl *.tar.gz *.deb *.zip *.msi | tee SHA256SUMS

.PHONY: golden
golden: $(VENV)/.installed ## regenerate the golden output and the README's reference; review the diff
	$(VENV)/bin/python -m pytest -k golden --update-golden

.PHONY: dashboards
dashboards: $(VENV)/.installed ## regenerate dashboards and Grafana's alert rules after a change of metrics, rules or dashboard sources
	$(VENV)/bin/python -m grafana

.PHONY: lock
lock: ## regenerate the lock files; LOCK_ARGS=--upgrade selects the newest versions
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/pip --disable-pip-version-check install --quiet $(UV)
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) pyproject.toml --group bench --constraint requirements-dev.lock --output-file requirements-bench.lock
	$(COMPILE) --group wheel --constraint requirements-dev.lock --output-file requirements-wheel.lock
	$(COMPILE) --group windows --constraint requirements-dev.lock --output-file requirements-windows.lock
	$(COMPILE) --group ansible --constraint requirements-dev.lock --output-file requirements-ansible.lock

.PHONY: clean
clean: ## remove generated files
	rm -rf $(VENV) $(WHEEL_VENV) .venv-lock dist tests/grafana/renderer/node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: tools
tools: $(VENV)/.installed
	@.ci/tools $(VENV)/bin/python

# Pinned: another version of uv may order or annotate the lock files differently.
UV := uv==0.13.9
# --universal: one lock file for all supported platforms and Python versions. It contains no index URL.
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(LOCK_ARGS)

%/.locked: requirements-dev.lock .ci/venv
	.ci/venv $(PYTHON) $* $<
	@touch $@

# --no-index: all dependencies are installed already.
$(VENV)/.installed: $(VENV)/.locked pyproject.toml exporter/__init__.py
	$(VENV)/bin/pip --disable-pip-version-check install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.bench: requirements-bench.lock | $(VENV)/.installed
	$(VENV)/bin/pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all: --no-deps \
		--requirement requirements-bench.lock
	@touch $@

$(WHEEL_VENV)/.installed: $(WHEEL_VENV)/.locked dist/.built
	$(WHEEL_VENV)/bin/pip --disable-pip-version-check install --quiet --no-index --no-deps --force-reinstall dist/*.whl
	$(WHEEL_VENV)/bin/pip check
	@touch $@

# The wheel is built from the source archive, which verifies that both are complete.
dist/.built: $(SOURCES) $(VENV)/.locked
	rm -rf dist
	$(VENV)/bin/python -m build --no-isolation --outdir dist
	@touch $@

dist/.packaged: dist/.built
	deploy/debian/build.sh $(VENV)/bin/python dist/*.whl dist $(DEB_ARCH)
	@touch $@
