"""The documentation's examples: blocks marked `python` or `sh` are run, other commands name what there is.

The blocks of a page run in order, in one folder, as a reader would run them from the project's folder; training takes
two epochs (`short.py`), which asks as much of the commands as many would.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from zsl_jax import __main__ as program
from zsl_jax.commands import cli
from zsl_jax.config import options

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^ *(?:\S+=\S+ )*(zsl-jax .*(?:(?<=\\)\n.*)*)", re.MULTILINE)
INLINE = re.compile(r"`(zsl-jax [^`]*)`")
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
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "zsl-jax"  # as an installation makes it, but that training is short
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.short "$@"\n')
    script.chmod(0o755)
    folders = [script.parent, Path(sys.executable).parent, os.environ["PATH"]]
    environment = os.environ | {"PATH": ":".join(map(str, folders)), "PYTHONPATH": str(ROOT), "ZSL_JAX_DATA": ""}
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs")}  # what one command compiled, others read
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    for kind, text in examples(page):
        command = [sys.executable, "-W", "error", "-c", text] if kind == "python" else ["sh", "-e", "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_name_what_there_is(page):
    for _, *words in commands(page):
        command = next((one for one in (" ".join(words[:2]), words[0]) if one in program.COMMANDS), "")
        if words in (["--version"], ["..."], ["COMMAND"], ["COMMAND", "--help"]):
            continue
        assert command, words
        said = cli.parse(
            program.load(command),
            command,
            [word for word in words[command.count(" ") + 1 :] if word not in ("...", "--help")],
        )
        given = [*getattr(said, "name", ()), *([said.config] if getattr(said, "config", None) else [])]
        if given and not set(given) & STAND_INS:
            config = options.load(given[0])
            for text in said.fields:
                options.look_up(config, text.partition("=")[0])
