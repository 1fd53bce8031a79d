"""An installed wheel has everything that it needs: nothing is looked up in a checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chargeline.adapters.clickhouse_migrations import FOLDER
from chargeline.runtime.stack import load_stack

ROOT = Path(__file__).resolve().parents[2]
TAKEN = ("services", "deploy", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's content in a folder of its own, built without network from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in TAKEN:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
            shutil.copytree(source, folder / "source" / name, symlinks=True, ignore=ignored)
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy(source, folder / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "source"], check=True, capture_output=True, timeout=240)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    shutil.rmtree(folder / "source")
    return folder / "site"


def test_the_migrations_travel_with_the_wheel(installed):
    wanted = {path.relative_to(FOLDER): path.read_bytes() for path in FOLDER.rglob("*.sql")}
    assert len(wanted) >= 4
    assert FOLDER.samefile(ROOT / "deploy" / "clickhouse")
    found = installed / "chargeline" / "migrations"
    assert {path.relative_to(found): path.read_bytes() for path in found.rglob("*.sql")} == wanted


@pytest.mark.stack
def test_an_installed_package_migrates_a_server(installed, stack, tmp_path):
    environment = {**load_stack(str(stack)).environment(), "PYTHONPATH": str(installed), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "chargeline.cli.main", "migrate"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    # The stack was migrated by the checkout: equal files have equal checksums, so nothing is left to do or refused.
    assert done.returncode == 0, done.stderr
    assert "all is up to date" in done.stderr
