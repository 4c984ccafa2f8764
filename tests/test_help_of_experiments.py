"""Every script of the experiments says to --help what it is for, and explains each of its options."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SCRIPTS = [
    path.relative_to(EXPERIMENTS).as_posix()
    for path in sorted(EXPERIMENTS.rglob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text()
]


@pytest.fixture(scope="module")
def helps():
    command = [sys.executable, Path(__file__).parent / "every_help.py", EXPERIMENTS]
    # Wide enough that no option is broken off.
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "120"})
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_the_script_is_for_and_explains_every_option(name, helps):
    end, said = helps[name]["end"], helps[name]["said"]
    if "pip install" in end:
        # It needs what is not installed here, and says so before anything else.
        assert re.fullmatch(rf"{Path(name).name} needs [a-z, ]+: pip install [a-z0-9=. ]+", end)
        return
    assert end == "0"
    assert f"python experiments/{name}" in said and "--out" in said
    options = re.split(r"^\W*(?=--)", said, flags=re.MULTILINE)[1:]
    assert options
    for option in options:
        name, *words = re.sub(r"[│╰╯─]|\(default: .*?\)|[{\[].*?[}\]]", " ", option, flags=re.DOTALL).split()
        assert len([word for word in words if not word.isupper()]) >= 2, f"{name} is not explained"
