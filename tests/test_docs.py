"""What README.md and docs/ say holds: links lead somewhere, Python runs, configs build, commands are understood."""
import argparse
import re
import runpy
import shlex
import shutil
import sys
from functools import cache
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, init_default_scope
from tiny_onnx import write_model

PAGES = {str(path.relative_to(ROOT)): path.read_text()
         for path in (ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md')))}
BLOCKS = {f'{page}:{text.count(chr(10), 0, found.start()) + 2}': found[1]
          for page, text in PAGES.items() for found in re.finditer(r'```python\n(.*?)```', text, re.S)}
CONFIGS = {place: code for place, code in BLOCKS.items() if re.search('^(?:_base_ = |with read_base)', code, re.M)}
SCRIPTS = {place: code for place, code in BLOCKS.items() if place not in CONFIGS}
# Nobody sits in front of a camera here, and nobody looks at a window.
PREPARED = {'docs/runtime.md': '''
import cv2
opened = cv2.VideoCapture
cv2.VideoCapture = lambda source, *args: opened('street.mp4' if source == 0 else source, *args)
cv2.imshow = cv2.waitKey = lambda *_: None
'''}


def lines_of_code(text):
    """The indented lines, continued ones joined."""
    text = re.sub(r'```.*?```', '', text, flags=re.S).replace('\\\n', ' ')
    return [line.strip() for line in re.findall(r'^ {4}(\S.*)$', text, re.M)]


TOOLS = r'^(?:.*\s)?(tools/\w+\.py|-m micronet_runtime|micronet-mm [\w-]+) ([^#]*)'
COMMANDS = sorted({(found[1], ' '.join(found[2].split())) for text in PAGES.values() for line in lines_of_code(text)
                   if (found := re.search(TOOLS, line))})


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    for path, anchor in re.findall(r'\]\((?!http)([^)#]*)#?([^)]*)\)', PAGES[page]):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        if anchor:
            titles = re.findall(r'^#+ (.+)$', target.read_text(), re.M)
            assert anchor in [re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles], anchor


@pytest.mark.parametrize('page', PAGES)
def test_files_and_targets_that_are_named_exist(page):
    folders = 'configs|tools|requirements|micronet_mm|micronet_runtime|docs'
    for path in set(re.findall(rf'(?<![\w./])(?:{folders})/[\w./-]+\.(?:py|sh|txt|jpg|md)\b', PAGES[page])):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / 'Makefile').read_text()
    for target in re.findall(r'(?:^    |`)make ([\w-]+)', PAGES[page], re.M):
        assert f'\n{target}:' in makefile, target
    assert not re.findall(r'\{[A-Z_]+\}', PAGES[page])


def test_readme_is_short_and_its_figures_are_those_of_the_pages():
    text = PAGES['README.md']
    assert len(text.splitlines()) <= 150 and 'No ImageNet or COCO weights are shipped' in text[:2000]
    counted = (PAGES['docs/paper_tables.md'] + PAGES['docs/detector_costs.md']).splitlines()
    zoo = re.findall(r'^\|[^|]*\|[^|]*\| `(\w+)` \| ([\d.]+M) \| ([\d.]+[MG]) \| ([\d.]+|-)', text, re.M)
    assert len(zoo) == 19
    for config, *figures in zoo:
        rows = [line for line in counted if f'[{config}]' in line or f'`{config}`' in line]  # in Tables 2 to 6 as well
        assert any(all(f' {figure} |' in row or figure == '-' for figure in figures) for row in rows), config
    for page, line in re.findall(r'^- \[[^]]*\]\((docs/\w+\.md)\): (.*?)(?=^- |\n\n)', text, re.M | re.S):
        for figure in re.findall(r'(\d+\.\d+x?)', line):
            assert figure in PAGES[page], (page, figure)


@pytest.mark.parametrize('place', CONFIGS)
def test_configs_build(place, tmp_path):
    host = re.search(r"'(mm\w+)::", CONFIGS[place])
    if host:
        pytest.importorskip(host[1])
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    (tmp_path / 'mine.py').write_text(CONFIGS[place])
    cfg = Config.fromfile(tmp_path / 'mine.py')
    init_default_scope(cfg.default_scope)
    for hook in (*cfg.get('custom_hooks', []), cfg.default_hooks.checkpoint):
        HOOKS.build({key: value for key, value in hook.items() if key != 'priority'})  # that is the runner's to read
    MODELS.build(cfg.model)


def write_checkpoint(path, name):
    """Of a model that is untrained, except that a detector takes whatever it sees for one person."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    if name.startswith('retinanet'):
        head = model.bbox_head
        torch.nn.init.zeros_(head.retina_reg.weight)
        head.retina_reg.bias.data.view(-1, 4)[:] = torch.tensor([0., 0., 9., 9.])  # as large as the image
        head.retina_cls.bias.data.view(-1, 80)[:, 0] = 9
    path.parent.mkdir(parents=True)
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)


@pytest.fixture(scope='module')
def reader(converted, tmp_path_factory):
    """A folder where everything lies that the pages name."""
    folder = tmp_path_factory.mktemp('reader')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    (folder / 'checkpoints').mkdir()
    shutil.copy(converted['m3'], folder / 'checkpoints' / 'micronet_m3.pth')
    picture = np.random.RandomState(0).randint(0, 256, (120, 160, 3), np.uint8)
    cv2.imwrite(str(folder / 'street.jpg'), picture)
    video = cv2.VideoWriter(str(folder / 'street.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, (160, 120))
    for _ in range(3):
        video.write(picture)
    video.release()
    write_model(folder / 'detector.onnx', 'detection')
    write_model(folder / 'pose.onnx', 'keypoints')
    return folder


@pytest.fixture(scope='module')
def trained(reader):
    """As if somebody had trained there."""
    for name, epoch in dict(retinanet_micronet_m3=36, keypoint_micronet_m3=250).items():
        if find_spec('mmpose') or not name.startswith('keypoint'):
            write_checkpoint(reader / 'work_dirs' / name / f'epoch_{epoch}.pth', name)


@pytest.mark.parametrize('place', [pytest.param(place, marks=pytest.mark.slow if 'epoch_' in code else ())
                                   for place, code in SCRIPTS.items()])
def test_python_runs(place, reader, request):
    """Each block is a program, as somebody copies it."""
    for page, package in dict(keypoints='mmpose', timm='timm').items():
        if f'{page}.md' in place:
            pytest.importorskip(package)
    if 'epoch_' in SCRIPTS[place]:
        request.getfixturevalue('trained')
    (reader / 'script.py').write_text(PREPARED.get(place.partition(':')[0], '') + SCRIPTS[place])
    run = call('script.py', cwd=reader)
    assert run.returncode == 0, run.stdout[-3000:]


def test_the_weights_of_the_example_are_those_of_the_checkpoint(converted, tmp_path, monkeypatch):
    code, = (text for place, text in BLOCKS.items() if 'init_weights' in text)
    (tmp_path / 'checkpoints').mkdir()
    shutil.copy(converted['m3'], tmp_path / 'checkpoints' / 'micronet_m3.pth')
    monkeypatch.chdir(tmp_path)
    exec(code, names := {})
    own = names['backbone'].state_dict()
    given = torch.load(converted['m3'])['state_dict']
    assert all(value.equal(given[f'backbone.{name}']) for name, value in own.items())


class Parsed(BaseException):
    """Thrown in the place of what a tool would do."""


@cache
def parser_of(command):
    """Taken from the tool as it is about to read its arguments."""
    def stop(self, args=None, namespace=None):
        raise Parsed(self)

    program, *subcommand = command.removeprefix('-m ').replace('micronet-mm', 'micronet_mm_console').split()
    run = runpy.run_path if program.endswith('.py') else runpy.run_module
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed) as parsed:
        patch.chdir(ROOT)
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', [program, *subcommand])
        run(program, run_name='__main__')
    return parsed.value.args[0]


@pytest.mark.parametrize(('command', 'arguments'), COMMANDS, ids=map(' '.join, COMMANDS))
def test_commands_are_understood(command, arguments):
    parser_of(command).parse_args(shlex.split(arguments))


@pytest.mark.skipif(not find_spec('sphinx') or not find_spec('furo'), reason="needs the extra 'docs'")
@pytest.mark.skipif(not find_spec('mmpose'), reason='the API has heads that build on mmpose')
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    run = call('-W', 'ignore', '-m', 'sphinx', '-W', '--keep-going', '-q', ROOT / 'docs', tmp_path / 'site', cwd=ROOT)
    assert run.returncode == 0, run.stdout
    fetched = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//|url\(["\']?(?:https?:)?//|@import')
    for path in (tmp_path / 'site').rglob('*'):
        if path.suffix in ('.html', '.css'):
            assert not fetched.search(path.read_text()), path
