# Chores. Each target makes .venv from the lock when it is missing or older than the lock.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# a process for each core, with one thread each; the slow files first (tests/conftest.py)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
  --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
BASE := $(VENV)/.base
STAMP := $(VENV)/.installed
# modules are compiled when they are first imported: most of them never are
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# and kept, whatever the environment says: else each process of a test compiles them anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test check format bench docs lock clean

install: $(STAMP)

# the package, its servers and the demo
$(BASE): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --requirement requirements.lock
	$(PIP) --no-deps --editable .
	touch $(BASE)

# and what tests, tools and the other extras need
$(STAMP): $(BASE) requirements-dev.lock
	$(PIP) --requirement requirements.lock --requirement requirements-dev.lock
	touch $(STAMP)

demo: $(BASE)  ## the main job on the built-in playground: the whole loop, from judgements to a steered GPT
	$(BIN)/tastemaker demo --out demo

test: install  ## every test but the slow ones; with SLOW=1 these too: learning over seeds, real data, kills
	$(PYTEST) -m "$(if $(SLOW),,not slow and )not gpu and not peers"

check: install  ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## every benchmark; each ends in one JSON line (several hours on two cores)
	$(BIN)/python benchmarks/imdb.py --backbone linear --target label
	$(BIN)/python benchmarks/imdb.py --backbone linear --target rating --no-peer
	$(BIN)/python benchmarks/score_memory.py
	$(BIN)/python benchmarks/train_speed.py --loss-curve 20
	rm -rf bench && $(BIN)/python benchmarks/imdb.py --backbone minilm --no-peer --out bench/minilm
	$(BIN)/python benchmarks/score_speed.py --model bench/minilm
	$(BIN)/python benchmarks/learning_curve.py --run bench/minilm
	# 2,000 judgements of each kind, 3 seeds; then the same number of judged texts; then careless and reversed judges
	$(BIN)/python benchmarks/playground_judgements.py
	$(BIN)/python benchmarks/playground_judgements.py --count-by texts
	$(BIN)/python benchmarks/playground_judgements.py --troubled
	# lenient and severe judges, good and bad ones, many judges of few judgements; 5 seeds
	$(BIN)/python benchmarks/judges.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/coverage.py
	# 500 rankings of 9 answers, one pass: 4,500 texts, against 36,000 as pairs
	$(BIN)/python benchmarks/rankings_speed.py
	# 4,664 pairs of HH, 3 seeds; 904 segments of WMT-MQM, 4 fits, 3 seeds
	$(BIN)/python benchmarks/hh.py
	$(BIN)/python benchmarks/mqm.py
	# 320 pairs four times over: TRL in bfloat16 and in float32, each with a run of ours
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --constraint requirements-dev.lock --editable '.[peers]'
	$(BIN)/python benchmarks/pairs_speed.py
	# where a steering step spends its time; GRPO beside TRL's, 3 seeds; an hour of pretraining, then PPO on what it wrote
	$(BIN)/python benchmarks/steer_profile.py
	$(BIN)/python benchmarks/grpo_speed.py --seeds 0 1 2
	$(BIN)/tastemaker pretrain ../shared/data/aclImdb.tar.gz --size small --out bench/gpt
	$(BIN)/python benchmarks/steer_imdb.py --policy bench/gpt

docs:  ## the documents as a site in build/site; a broken link is an error
	$(PYTHON) scripts/site.py
	test -x build/docs-venv/bin/mkdocs || { $(PYTHON) -m venv build/docs-venv && \
	  build/docs-venv/bin/python -m pip install --quiet --disable-pip-version-check 'mkdocs-material>=9.6,<10'; }
	build/docs-venv/bin/mkdocs build --strict --quiet

lock:  ## resolve the newest versions that pyproject.toml allows into requirements.lock and requirements-dev.lock
	$(PYTHON) scripts/lock.py

clean:
	rm -rf $(VENV) build demo bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
