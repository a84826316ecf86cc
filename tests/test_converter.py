"""The converter of released weights."""
import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from mm import call
from released import ARCHS, GOLDEN, released_state_dict

from micronet_mm.checkpoint import convert_checkpoint, convert_state_dict, key_map

TOOL = Path(__file__).parents[1] / 'tools' / 'convert_checkpoint.py'


@pytest.mark.parametrize('arch', ARCHS)
def test_every_tensor_finds_its_place(arch):
    released = released_state_dict(arch)
    found, converted = convert_state_dict(released)
    table = key_map(arch)
    assert found == arch
    assert table.keys() == {key for key, *_ in json.loads((GOLDEN / f'schema_{arch}.json').read_text())}
    assert len(set(table.values())) == len(table) == len(converted)
    for key, value in released.items():
        assert torch.equal(converted[table[key]], value)


@pytest.mark.parametrize('wrap', [lambda s: s, lambda s: dict(state_dict={f'module.{k}': v for k, v in s.items()})],
                         ids=['bare', 'wrapped in module.'])
def test_with_and_without_prefix(wrap, tmp_path):
    torch.save(wrap(released_state_dict('m0')), tmp_path / 'm0.pth')
    assert convert_checkpoint(tmp_path / 'm0.pth', tmp_path / 'out' / 'm0.pth').arch == 'm0'
    content = torch.load(tmp_path / 'out' / 'm0.pth')
    assert content['meta'] == dict(arch='m0', source='m0.pth', num_classes=1000)
    assert {key.partition('.')[0] for key in content['state_dict']} == {'backbone', 'head'}
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['m0.pth']


def test_other_number_of_classes():
    released = released_state_dict('m0')
    for key in list(released):
        if key.startswith('classifier.2') and released[key].ndim:
            released[key] = released[key][:10]
    assert convert_state_dict(released)[0] == 'm0'


@pytest.mark.parametrize(('spoil', 'misfit'), [
    (lambda s: s.update(extra=torch.zeros(1)), r'm0.*: extra \(unknown\)'),
    (lambda s: s.pop('features.7.layers.0.conv.0.weight'), r'features\.7\.layers\.0\.conv\.0\.weight \(missing\)'),
    (lambda s: s.update({'features.0.stem.0.conv.1.bias': torch.zeros(3)}), r'shape \(3,\), expected \(2,\)'),
])
def test_misfits_are_named(spoil, misfit):
    released = released_state_dict('m0')
    spoil(released)
    with pytest.raises(ValueError, match=misfit):
        convert_state_dict(released)


def test_a_tensor_given_twice_is_refused():
    released = released_state_dict('m0')
    released['module.classifier.2.linear.0.bias'] = torch.zeros(1000)
    with pytest.raises(ValueError, match=r"both with and without 'module\.'"):
        convert_state_dict(released)


class Payload:

    def __reduce__(self):
        return Path.touch, (Path('touched_by_pickle'), )


def write_pickled_code(path):
    torch.save(dict(state_dict=Payload()), path)


def write_truncated(path):
    torch.save(released_state_dict('m0'), path)
    path.write_bytes(path.read_bytes()[:100_000])


def write_resnet(path):
    from torchvision.models import resnet18
    torch.save(resnet18().state_dict(), path)


@pytest.mark.parametrize(('write', 'message'), [
    (write_pickled_code, r'is whole, but holds pathlib\.(_local\.)?Path, which is not allowed'),
    (write_truncated, 'is broken and cannot be read as a checkpoint'),
    (write_resnet, r'not released MicroNet weights.* conv1\.weight \(unknown\)'),
    (lambda path: torch.save([1, 2], path), 'holds no weights, but a list'),
    (lambda path: path.write_bytes(pickle.dumps('hello')), 'src.pth'),
    (lambda path: None, 'does not exist'),
])
def test_tool_refuses_with_one_line_and_writes_nothing(write, message, tmp_path):
    write(tmp_path / 'src.pth')
    (tmp_path / 'dst.pth').write_text('what was there before')
    run = call(TOOL, 'src.pth', 'dst.pth', cwd=tmp_path, apart=True)
    assert run.returncode == 1 and run.stderr.count('\n') == 1 and run.stderr.startswith('error: ')
    assert re.search(message, run.stderr)
    assert (tmp_path / 'dst.pth').read_text() == 'what was there before'
    assert {p.name for p in tmp_path.iterdir()} <= {'src.pth', 'dst.pth'}


@pytest.mark.parametrize('link', [None, 'symlink_to', 'hardlink_to'])
def test_the_released_file_is_not_written_over(link, released, tmp_path):
    source, target = tmp_path / 'src.pth', tmp_path / ('dst.pth' if link else '../' + tmp_path.name + '/src.pth')
    source.write_bytes(released['m0'].read_bytes())
    if link:
        getattr(target, link)(source)
    with pytest.raises(ValueError, match=r'is also the input .*src\.pth; choose another output'):
        convert_checkpoint(source, target)
    assert source.read_bytes() == released['m0'].read_bytes()
