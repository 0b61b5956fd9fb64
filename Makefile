# Two commands: `make run` serves on :10066, `make test` runs the tests; .ci/run is all that CI runs. Both set up what they need, once:
# a stamp file stands for each finished step, so a second run asks neither apt nor an index.
PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
# Tests wait more than they reckon: two at a time, and those of a file together, since they share what it builds.
PYTEST := -m pytest --numprocesses=2 --dist=loadfile
LOCK_ARGS ?=
BENCH_ARGS ?=
SOAK_MINUTES ?= 5
DEMO_ARGS ?=
BUILD ?= docker build
IMAGE ?= socket-state-exporter:$(VERSION)
IMAGE_ARGS ?=
DEB_ARCH ?=

VENV := .venv
WHEEL_VENV := .venv-wheel
VERSION = $(shell sed -n 's/^__version__[^"]*"\(.*\)"$$/\1/p' exporter/__init__.py)
SOURCES := $(shell find exporter deploy grafana -name __pycache__ -prune -o -print) \
	pyproject.toml requirements.lock README.md LICENSE

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
# Two runs of the tests at a time would take each other's ports and time.
.NOTPARALLEL:
# ip and nft are in sbin, which is not on every user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin
# It could put the checkout in front of the installed wheel.
unexport PYTHONPATH

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: run
run: $(VENV)/.installed ## set up, then serve; flags go into ARGS="--web.listen-address=:9999"
	$(VENV)/bin/socket-state-exporter $(ARGS)

.PHONY: demo
demo: $(VENV)/.installed ## watch an alert come and go: with Prometheus and Alertmanager, on loopback, in a minute
	@{ command -v prometheus && { command -v prometheus-alertmanager || command -v alertmanager; }; } >/dev/null || \
		.ci/apt-install prometheus prometheus-alertmanager
	@$(VENV)/bin/python -m tests.demo $(DEMO_ARGS)

.PHONY: test
test: lint test-source test-wheel ## set up, then lint, build, and test the sources and the wheel

.PHONY: lint
lint: $(VENV)/.locked ## ruff, mypy, codespell
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell

.PHONY: test-source
test-source: $(VENV)/.installed tools ## pytest on the checkout; PYTEST_ARGS="-k owners"
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python $(PYTEST) $(PYTEST_ARGS)

# A target of its own: Chromium and what it needs are 300 MB. Where it is there already, `make test` runs these too.
.PHONY: test-browser
test-browser: $(VENV)/.installed ## the tests of the status page in Chromium, which this installs where it may
	command -v chromium >/dev/null || .ci/apt-install chromium || echo "not installed: chromium; its tests are skipped" >&2
	$(VENV)/bin/python -m pytest -m browser $(PYTEST_ARGS)

# A target of its own: 100 MB. Where it is there already, `make test` runs these, too.
.PHONY: test-grafana
test-grafana: $(VENV)/.installed tools ## the tests of dashboards with Grafana's own code for tables, from npm, which this installs
	command -v npm >/dev/null || .ci/apt-install npm || true
	npm ci --silent --ignore-scripts --prefix tests/grafana/renderer || \
		echo "not installed: @grafana/data; its tests are skipped" >&2
	$(VENV)/bin/python -m pytest -m grafana $(PYTEST_ARGS)

# A target of its own, too: it installs a small Debian for the image to stand on, which takes most of its three minutes.
.PHONY: image-test
image-test: $(VENV)/.installed ## build the image without Docker, run it, scrape it; as root
	.ci/apt-install buildah debootstrap podman runc
	$(VENV)/bin/python -m pytest -m image tests/image $(PYTEST_ARGS)

.PHONY: image
image: ## build the image by Docker; BUILD="podman build --format=docker", IMAGE_ARGS="--no-cache"
	$(BUILD) --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION="$$(git rev-parse HEAD)" \
		--build-arg CREATED="$$(date --utc +%Y-%m-%dT%H:%M:%SZ)" $(IMAGE_ARGS) .

# Ten thousand requests, and clients that have to be waited for until they are cut off: three minutes.
.PHONY: test-abuse
test-abuse: $(VENV)/.installed tools ## many scrapers, stalling and raving clients at full size; prints what it measured
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pytest tests/abuse --abuse $(PYTEST_ARGS)

# PYTHONSAFEPATH keeps the working directory off sys.path, here and in the processes that tests start.
.PHONY: test-wheel
test-wheel: export PYTHONSAFEPATH := 1
test-wheel: export SOCKET_STATE_EXPORTER_WHEEL := 1
test-wheel: $(WHEEL_VENV)/.installed tools ## pytest on the installed wheel
	$(WHEEL_VENV)/bin/python -c 'import exporter as e; assert "site-packages" in e.__file__, e.__file__'
	PATH="$(CURDIR)/$(WHEEL_VENV)/bin:$$PATH" $(WHEEL_VENV)/bin/python $(PYTEST) $(PYTEST_ARGS)

# A target of its own: it makes a Debian of 300 MB below ~/.cache, once, and boots copies of it.
.PHONY: test-install
test-install: deb ## each way to install it, on a Debian with systemd in namespaces of its own, as root
	.ci/apt-install debootstrap lintian openssl || echo "not installed: debootstrap, lintian, openssl; the tests that need them are skipped" >&2
	$(VENV)/bin/python -m pytest -m install $(PYTEST_ARGS)

# The picture's library is installed here only, so that `make test` stays light.
.PHONY: bench
bench: $(VENV)/.bench ## measure the cost beside that of others, as root; BENCH_ARGS="--quick" in a minute
	packages=$$($(VENV)/bin/python -m tests.benchmarks.programs); [[ -z $$packages ]] || \
		.ci/apt-install $$packages || echo "not installed: $$packages; the table says what lacks" >&2
	$(VENV)/bin/python -m tests.benchmarks $(BENCH_ARGS)

.PHONY: soak
soak: $(VENV)/.installed tools ## sockets and processes come and go for SOAK_MINUTES=5, as root; scrapes are compared with ss
	$(VENV)/bin/python -m tests.soak $(SOAK_MINUTES)

.PHONY: wheel
wheel: dist/.built ## build dist/*.whl and dist/*.tar.gz

.PHONY: deb
deb: dist/.packaged ## build dist/*.deb, from the wheel; DEB_ARCH=arm64

.PHONY: install
install: wheel ## install it below /opt, with its service, as root; again for an upgrade
	deploy/systemd/install.sh dist/*.whl

.PHONY: uninstall
uninstall: ## remove what `make install` brought, as root; your configuration stays
	deploy/systemd/uninstall.sh

.PHONY: release
release: ## on a tagged commit: check that tag, version and changelog agree, build everything that is published
	tag=$$(git describe --exact-match --dirty) version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' exporter/__init__.py); \
		[[ $$tag == "v$$version" ]] || { echo "tag $$tag, but version $$version" >&2; exit 1; }; \
		[[ $$(head -n 1 CHANGELOG.md) =~ ^"## $$version / "[0-9-]{10}$$ ]] || \
		{ echo "CHANGELOG.md does not begin with '## $$version / DATE'" >&2; exit 1; }
	rm -rf dist
	$(MAKE) deb
	deploy/debian/build.sh $(VENV)/bin/python dist/*.whl dist arm64
	cd dist && sha256sum *.whl *.tar.gz *.deb | tee SHA256SUMS

.PHONY: golden
golden: $(VENV)/.installed ## rewrite the golden output and the README's reference; read the diff
	$(VENV)/bin/python -m pytest -k golden --update-golden

.PHONY: dashboards
dashboards: $(VENV)/.installed ## write grafana/dashboards and Grafana's alerts anew, after a change of metrics, rules or boards
	$(VENV)/bin/python -m grafana

.PHONY: lock
lock: ## lock dependencies anew; LOCK_ARGS=--upgrade takes the newest
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/pip --disable-pip-version-check install --quiet $(UV)
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) pyproject.toml --group bench --constraint requirements-dev.lock --output-file requirements-bench.lock
	$(COMPILE) --group wheel --constraint requirements-dev.lock --output-file requirements-wheel.lock
	$(COMPILE) --group ansible --constraint requirements-dev.lock --output-file requirements-ansible.lock

.PHONY: clean
clean: ## remove what make and the tools made
	rm -rf $(VENV) $(WHEEL_VENV) .venv-lock dist tests/grafana/renderer/node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: tools
tools: $(VENV)/.installed
	@.ci/tools $(VENV)/bin/python

# Pinned, as another uv may order or annotate differently.
UV := uv==0.13.9
# --universal: one lock for every platform and Python we support. No index address: that is the reader's to configure.
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(LOCK_ARGS)

%/.locked: requirements-dev.lock .ci/venv
	.ci/venv $(PYTHON) $* $<
	@touch $@

# Editable: the sources stay where they are. --no-index: everything needed is already there.
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

# The wheel is built from the source archive, so that both are complete.
dist/.built: $(SOURCES) $(VENV)/.locked
	rm -rf dist
	$(VENV)/bin/python -m build --no-isolation --outdir dist
	@touch $@

dist/.packaged: dist/.built
	deploy/debian/build.sh $(VENV)/bin/python dist/*.whl dist $(DEB_ARCH)
	@touch $@
