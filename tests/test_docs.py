"""What README.md points to is there, and its Python runs."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()


def test_files_that_are_named_exist():
    links = re.findall(r'\]\((?!http)([^)]+)\)', README)
    paths = re.findall(r'(?:configs|tools|requirements|micronet_mm|docs)/[\w./-]+\.(?:py|sh|txt|jpg|md)', README)
    assert links and paths
    for path in {*links, *paths}:
        assert (ROOT / path).exists(), path


def test_no_placeholder_is_left():
    assert not re.findall(r'\{[A-Z_]+\}', README)


def test_python_examples_run():
    examples = [code for code in re.findall(r'```python\n(.*?)```', README, re.S)
                if 'DetInferencer' not in code and '_base_' not in code]
    assert len(examples) == 2
    for code in examples:
        run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
