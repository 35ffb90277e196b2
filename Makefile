# `make run` and `make test` need nothing but Python 3.11 or later and make; everything else is set up in .venv/.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)-pins/bin/uv
ENVIRONMENTS := tests/readers/environments
READERS := $(patsubst $(ENVIRONMENTS)/%.txt,$(VENV)-readers/%/ready,$(wildcard $(ENVIRONMENTS)/*.txt))
.DEFAULT_GOAL := help
.PHONY: help sound run link import status token config refresh disconnect doctor deploy plan destroy attach test test-all test-readers readers bench pictures lint format pins clean

# A switch is on with 1, yes or true.
on = $(filter 1 yes true,$($(1)))
json = $(if $(call on,JSON),--json)
target = $(if $(TARGET),--target "$$TARGET")
tokenkeeper = PYTHONPATH=functions $(PY) -m tokenkeeper $(target)
connection = @if [ -z "$$CONNECTION" ]; then echo "Name the connection: make $@ CONNECTION=acme" >&2; exit 2; fi
# Into this environment, wherever PIP_USER, PIP_TARGET, PIP_PREFIX or a pip.conf would have packages put.
pip_install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-user --target "" --prefix "$(abspath $(1))"
# Of several names in CONNECTION, each is a word of its own.
names = set -f; set -- $$CONNECTION; set +f;
new = $(if $(FAMILY),--family "$$FAMILY") $(if $(call on,ANY_ACCOUNT),--any-account) $(if $(LABELS),--labels "$$LABELS") $(if $(FILE),--file "$$FILE")
label = $(if $(LABEL),--label "$$LABEL")
# Values reach the shell as variables of the environment, so that nothing in them is taken for a command.
export FAMILY LABELS LABEL FILE HEALTH ONLY
export CONNECTION EXPIRES FOR SINCE TARGET PROJECT REGION NAME STATE TERRAFORM

help:  ## show this
	@echo "TikTok Token Keeper. Targets:"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done
	@echo "With link, status, refresh and doctor: JSON=1. With all that act on connections: TARGET=local or TARGET=cloud."
	@echo "make turns every exit status but 0 into 2; cd functions && ../$(PY) -m tokenkeeper COMMAND keeps them apart."

run: sound  ## start everything on this machine (PORT=8080, REFRESH_PORT, SECRET_MANAGER_PORT, TIKTOK_PORT, HOST)
	@PYTHONPATH=infra:functions exec $(PY) -m local.run

link: sound  ## print a connect link: CONNECTION=acme (FAMILY=account, EXPIRES=7d, ANY_ACCOUNT=1, LABELS=client=x; many: FILE=names.txt, LABEL=client=x, CSV=1)
	$(if $(FILE)$(LABEL),,$(connection))
	@$(names) $(tokenkeeper) link $(if $(EXPIRES),--expires "$$EXPIRES") $(new) $(label) $(if $(call on,CSV),--csv) $(json) -- "$$@"

import: sound  ## store a token that exists already, from standard input or a hidden prompt: CONNECTION=acme (FAMILY=account, ANY_ACCOUNT=1, LABELS=client=x; many: FILE=tokens.jsonl)
	$(if $(FILE),,$(connection))
	@$(names) $(tokenkeeper) import $(new) $(label) -- "$$@"

status: sound  ## show how all connections are, and what to do (CONNECTION="acme beta", HEALTH=failing, LABEL=client=x, ALL=1)
	@$(names) $(tokenkeeper) status $(if $(HEALTH),--health "$$HEALTH") $(label) $(if $(call on,ALL),--all) $(json) -- "$$@"

token: sound  ## print the access token of a connection, alone, for a pipe: CONNECTION=acme
	$(connection)
	@$(tokenkeeper) token -- "$$CONNECTION"

config: sound  ## print a ready configuration of a tool (without FOR: the tools): CONNECTION=acme FOR=dlt (ONLY=7001,7002, SINCE=2026-01-01)
	$(connection)
	@$(tokenkeeper) config $(if $(FOR),--for "$$FOR") $(if $(ONLY),--only "$$ONLY") $(if $(SINCE),--since "$$SINCE") -- "$$CONNECTION"

refresh: sound  ## make one run now (CONNECTION="acme beta" or LABEL=client=x limits it, FORCE=1 refreshes what is not due)
	@$(names) $(tokenkeeper) refresh $(label) $(if $(call on,FORCE),--force) $(json) -- "$$@"

disconnect: sound  ## revoke a connection at TikTok and delete its secrets: CONNECTION=acme (YES=1, FORCE=1)
	$(connection)
	@$(tokenkeeper) disconnect $(if $(call on,YES),--yes) $(if $(call on,FORCE),--force) -- "$$CONNECTION"

doctor: sound  ## check whether everything is there that the token keeper needs
	@$(tokenkeeper) doctor $(json)

# exec, so that a signal to make reaches it.
cloud = PYTHONPATH=infra:functions exec $(PY) -m gcp.deploy

deploy: sound  ## set everything up in Google Cloud, or bring it up to date (YES=1, STATE=local, UNLOCK=1, ADOPT=1)
	@$(cloud) deploy $(if $(call on,YES),--yes) $(if $(call on,UNLOCK),--unlock) $(if $(call on,ADOPT),--adopt)

plan: sound  ## show all that deploy would change
	@$(cloud) plan

destroy: sound  ## take it down again; stored tokens stay, except with TOKENS=1 (YES=1, UNLOCK=1)
	@$(cloud) destroy $(if $(call on,TOKENS),--tokens) $(if $(call on,YES),--yes) $(if $(call on,UNLOCK),--unlock)

# NAME counts on the command line only: some systems have a variable of that name, with the machine's.
attach: sound  ## let the commands act on a deployment made elsewhere: PROJECT=my-project REGION=europe-west1 (NAME=)
	@if [ -z "$$PROJECT" ] || [ -z "$$REGION" ]; then echo "Name both: make attach PROJECT=my-project-123 REGION=europe-west1" >&2; exit 2; fi
	@$(cloud) attach --project "$$PROJECT" --region "$$REGION" $(if $(filter command,$(origin NAME)),--name "$$NAME")

test: lint  ## check the code and run the tests
	@$(PY) -m pytest -q -n 2 -m "not slow and not readers"

test-all: test  ## the same, then the tests that take long
	@$(PY) -m pytest -q -n 2 -m "slow and not readers"

test-readers: readers  ## run every recipe of infra/readers with the real tool (READER=dlt for one)
	@$(PY) -m pytest -q -n 2 --dist worksteal -m readers $(if $(READER),-k "$(READER) or $(subst -,_,$(READER))") tests/readers

readers: sound $(VENV)/ready $(READERS)  ## only install those tools, each in an environment of its own

bench: $(VENV)/ready $(VENV)-bench/ready  ## measure speed and size, and write the table of tests/bench (ONLY=start: that one, which writes nothing)
	@PYTHONPATH=functions:infra:tests $(PY) -m bench $(ONLY)

pictures: $(VENV)/ready  ## take README's pictures from the running product (needs Chromium)
	@PYTHONPATH=functions:infra:tests $(PY) -m pictures.take

lint: sound $(VENV)/ready  ## check style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: sound $(VENV)/ready  ## bring the code into its format
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

pins: sound $(UV)  ## write every requirements.txt again, with the newest versions; what is deployed has hashes
	@for folder in functions tests; do \
	  (cd $$folder && ../$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-header --python-version 3.11 --output-file requirements.txt requirements.in) || exit 1; \
	done
	@for names in $(ENVIRONMENTS)/*.in tests/bench/obvious/environment.in; do \
	  $(UV) pip compile --quiet --upgrade --universal --no-annotate --no-header --python-version 3.11 --output-file "$${names%.in}.txt" "$$names" || exit 1; \
	done

clean:  ## remove .venv, its like and caches; stored tokens (.tokenkeeper) stay
	@rm -rf $(VENV) $(VENV)-pins $(VENV)-readers $(VENV)-bench .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find functions infra tests -name __pycache__ -type d -prune -exec rm -rf {} +

sound: $(VENV)/run-ready
	@if ! $(PY) -c '' 2>/dev/null; then echo "The Python of $(VENV) is gone or broken: remove the folder (rm -r $(VENV)) and run make again." >&2; exit 1; fi

# The newest Python at hand that the product supports; PYTHON=/some/python overrides.
$(VENV)/run-ready: functions/requirements.txt
	@python=; for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	case "$$PWD" in *:*) echo "The folder $$PWD has a colon in its name, which Python's virtual environments do not support: rename the folder, or move the repository elsewhere, and run make again." >&2; exit 1;; esac; \
	if [ -z "$$python" ]; then echo "Python 3.11, 3.12, 3.13 or 3.14 is needed and none was found: install one, or name it with PYTHON=/path/to/python." >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$("$$python" --version) ..." >&2; \
	rm -rf $(VENV); \
	if ! "$$python" -m venv $(VENV) >&2; then echo "Python's venv module does not work here: install it (on Debian and Ubuntu: apt-get install python3-venv) and run make again." >&2; rm -rf $(VENV); exit 1; fi; \
	if ! $(call pip_install,$(VENV)) --require-hashes -r functions/requirements.txt >&2; then echo "The packages could not be installed: see pip's message above, check the network or proxy, and run make again." >&2; rm -rf $(VENV); exit 1; fi; \
	touch $@

$(VENV)/ready: $(VENV)/run-ready tests/requirements.txt
	@if ! $(call pip_install,$(VENV)) --require-hashes -r tests/requirements.txt >&2; then echo "The test tools could not be installed: see pip's message above and run make again." >&2; exit 1; fi; \
	touch $@

$(UV): | $(VENV)/run-ready
	@if ! { $(PY) -m venv $(VENV)-pins && $(call pip_install,$(VENV)-pins) uv; } >&2; then echo "uv could not be installed: see pip's message above and run make again." >&2; rm -rf $(VENV)-pins; exit 1; fi

# What the benchmarks compare with has an environment of its own.
$(VENV)-bench/ready: tests/bench/obvious/environment.txt | $(UV) $(VENV)/ready
	@rm -rf $(@D); \
	$(UV) venv --quiet --python $(PY) $(@D); \
	if ! $(UV) pip install --quiet --python $(@D) --requirement $< >&2; then echo "What $< names could not be installed: see uv's message above." >&2; rm -rf $(@D); exit 1; fi; \
	touch $@

# Not every tool supports the newest Python, so 3.11 is taken where it is at hand.
$(VENV)-readers/%/ready: $(ENVIRONMENTS)/%.txt | $(UV) $(VENV)/ready
	@echo "Setting up $(@D) ..." >&2; \
	rm -rf $(@D); \
	$(UV) venv --quiet --no-python-downloads --python 3.11 $(@D) 2>/dev/null || $(UV) venv --quiet --python $(PY) $(@D); \
	if ! $(UV) pip install --quiet --python $(@D) --requirement $< >&2; then \
	  echo "What $< names could not be installed with $$($(@D)/bin/python --version): see uv's message above. If a tool does not support that Python, install 3.11 beside it and run make again." >&2; rm -rf $(@D); exit 1; \
	fi; \
	touch $@
