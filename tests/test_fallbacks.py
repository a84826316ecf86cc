"""Fallbacks give way to what is compiled and loads, and are loaded for nobody who does not ask.

Each in a process of its own, with a package laid out for it.
"""
import pytest
from mm import call


def run(code, folder):
    return call('-W', 'always', '-c', code, cwd=folder, apart=True)


@pytest.mark.parametrize(('start', 'package', 'part', 'doc'), [
    # In front of the folder of the mmcv that is installed.
    ('import mmcv, mmcv.cnn; mmcv.__path__.insert(0, "part"); import mmcv._ext as module', 'part', '_ext',
     'In the place of ``mmcv._ext``'),
    ('import xtcocotools as module', 'xtcocotools', '_mask', 'In the place of xtcocotools'),
], ids=['mmcv', 'xtcocotools'])
def test_what_is_compiled_and_loads_wins(start, package, part, doc, tmp_path):
    code = f'from micronet_mm.fallbacks import install_fallbacks\ninstall_fallbacks()\n{start}\nprint(module.__doc__)'
    folder = tmp_path / package
    folder.mkdir()
    (folder / '__init__.py').write_text('"""original"""')
    (folder / f'{part}.py').write_text('"""original"""')
    found = run(code, tmp_path)
    assert found.stdout == 'original\n' and 'does not load' not in found.stderr, found.stderr
    for error, message in (('ImportError', 'undefined symbol: _ZN2at'), ('ValueError', 'numpy.dtype size changed')):
        (folder / f'{part}.py').write_text(f'raise {error}({message!r})')
        found = run(code, tmp_path)
        assert found.stdout.startswith(doc), found.stderr
        assert found.stderr.count('does not load') == 1 and message in found.stderr
    (folder / f'{part}.py').unlink()
    if package == 'xtcocotools':  # without what is compiled it is of no use
        assert run(code, tmp_path).stdout.startswith(doc)


def test_import_leaves_the_fallbacks_alone(tmp_path):
    code = "import sys, micronet_mm; print([name for name in sys.modules if name in ('mmcv._ext', 'xtcocotools')])"
    assert run(code, tmp_path).stdout == '[]\n'


@pytest.mark.parametrize('missing', ['mmcv', 'mmengine'])
def test_a_missing_base_is_named_with_both_lines_of_mmlab(missing, tmp_path):
    code = f'''
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == {missing!r} else found(name)
import micronet_mm'''
    last = run(code, tmp_path).stderr.strip().splitlines()[-1]
    assert last.startswith(f'ModuleNotFoundError: micronet_mm needs {missing}, ') and 'onedl-mmengine' in last
