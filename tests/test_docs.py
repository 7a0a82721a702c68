"""The documentation's examples: blocks marked `python` or `sh` are run, other commands name what there is.

The blocks of a page run in order, in one folder, as a reader would run them from the project's folder.
"""

import functools
import operator
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from zsl_jax.experiment import sweep

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^ *(python (?:-m zsl_jax|tools/).*(?:(?<=\\)\n.*)*)", re.MULTILINE)
INLINE = re.compile(r"`(python (?:-m zsl_jax|tools/)[^`]*)`")
STAND_INS = {"DIR", "FILE", "METHOD_FILE"}  # what a reader replaces


def examples(page: Path) -> list[tuple[str, str]]:
    """Kind and text of a page's runnable blocks; CONTRIBUTING's are templates to fill in."""
    return [] if page.name == "CONTRIBUTING.md" else BLOCK.findall(page.read_text())


def commands(page: Path) -> list[list[str]]:
    """The arguments of each command of ours on a page."""
    text = page.read_text()
    found = [one.replace("\\\n", " ") for one in COMMAND.findall(text)] + INLINE.findall(text)
    return [shlex.split(one, comments=True) for one in found]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=name)
def test_the_examples_run(page, tmp_path):
    for folder in ("configs", "tools"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ZSL_JAX_DATA": ""}
    for kind, text in examples(page):
        command = [sys.executable, "-W", "error", "-c", text] if kind == "python" else ["sh", "-e", "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_name_what_there_is(page):
    for command in commands(page):
        program = command[2] if command[1] == "-m" else command[1]
        file = ROOT / (f"{program.replace('.', '/')}.py" if command[1] == "-m" else program)
        assert file.is_file(), program
        words = [word for argument in command for word in re.split(r"(?<=^--config)=", argument, maxsplit=1)]
        if "--config" not in words:
            continue
        config_file = words[words.index("--config") + 1]
        if config_file in STAND_INS or "my_method" in config_file:
            continue
        config = sweep.load(str(ROOT / config_file), {}, "--config")
        for word in words:
            if word.startswith("--config."):
                functools.reduce(operator.getitem, word.removeprefix("--config.").partition("=")[0].split("."), config)
