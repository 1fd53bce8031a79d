"""Rules of the code that a tool can check."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "services" / "chargeline").rglob("*.py"))
DOMAIN = ROOT / "services" / "chargeline" / "domain"
MONEY = sorted(
    each for room in ("rates", "closing", "catalogues", "budgets", "alerts") for each in (DOMAIN / room).glob("*.py")
) + [
    DOMAIN / f"{name}.py" for name in ("money", "documents", "fields", "accounts", "accounts_reader", "fx", "fx_reader")
]


def test_rooms_import_only_what_they_may():
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


def test_every_entry_point_imports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for target in project["scripts"].values():
        module, name = target.split(":")
        assert callable(getattr(import_module(module), name))
    for service in ("pricer", "sink", "budgets", "notifier"):
        assert callable(import_module(f"chargeline.{service}.__main__").main)


def test_no_float_touches_money():
    assert len(MONEY) > 40
    for path in MONEY:
        code = re.sub(r'""".*?"""|#[^\n]*|"[^"\n]*"', "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"\bfloat\b", code), path
        assert not re.search(r"\b\d+\.\d+\b", code), path


def test_the_clock_and_chance_are_read_in_adapters_and_the_edge_only():
    allowed = {"adapters", "embedded", "cli", "sdk", "runtime"}
    for path in SOURCES:
        if path.relative_to(ROOT / "services" / "chargeline").parts[0] in allowed:
            continue
        code = path.read_text()
        assert not re.search(r"time\.time|datetime\.now|uuid4|^import random", code, re.MULTILINE), path


def test_a_service_checks_its_settings_and_reports_all_faults_together():
    done = subprocess.run([sys.executable, "-m", "chargeline.pricer", "--check-config"], capture_output=True,
                          text=True, check=False, env={"PATH": ""})  # fmt: skip
    assert done.returncode == 2
    assert "CHARGELINE_KAFKA" in done.stderr
    assert "CHARGELINE_REDIS_URL" in done.stderr
