"""What an installation holds, and what importing it costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zsl_jax

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("jax", "sklearn", "matplotlib", "scipy", "h5py", "tensorboardX")


def packages_below(folder: str, package: str) -> set[str]:
    """Every folder with modules."""
    folders = {path.parent.relative_to(ROOT / folder) for path in (ROOT / folder).glob("**/*.py")}
    return {".".join([package, *path.parts]) for path in folders}


def test_all_packages_are_listed():
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert listed == sorted(set(listed))
    assert set(listed) == packages_below("zsl_jax", "zsl_jax") | packages_below("configs", "zsl_jax.configs")
    assert PROJECT["tool"]["setuptools"]["package-dir"]["zsl_jax.configs"] == "configs"


def test_the_version_is_one():
    assert PROJECT["project"]["version"] == zsl_jax.__version__


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "zerodiff_digits", "--help"], ["bench", "--workdir"], ["data", "import", "-h"]]
)
def test_help_and_bad_arguments_load_nothing_heavy(arguments):
    code = f"""
import sys
from zsl_jax import __main__ as program
try:
    program.main({arguments!r})
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.splitlines()[-1] == "[]"
