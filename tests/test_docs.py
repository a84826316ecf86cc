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


def test_python_examples_run(converted, tmp_path):
    """In a folder where the converted checkpoint lies where README has it."""
    examples = [code for code in re.findall(r'```python\n(.*?)```', README, re.S)
                if 'DetInferencer' not in code and '_base_' not in code]
    assert len(examples) == 3
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'micronet_m3.pth').symlink_to(converted['m3'])
    for code in examples:
        if 'Pretrained' in code:
            code += f'''
import torch
for name, value in torch.load({str(converted['m3'])!r})['state_dict'].items():
    assert not name.startswith('backbone.') or backbone.state_dict()[name[9:]].equal(value), name
'''
        run = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
