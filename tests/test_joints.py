"""Descriptions of keypoints: what is wrong with one is said before anything is built from it."""
import json
import re
import shutil

import pytest
from mm import ROOT
from mmengine.config import Config

pytest.importorskip('mmpose')

from test_own_data import CONFIGS, EVALUATORS, LOADERS, figures, in_one_folder  # noqa: F401

from micronet_mm.datasets import coco_repairs
from micronet_mm.engine.checks import joints
from micronet_mm.engine.checks.data import check_data
from micronet_mm.engine.checks.model import check_consistency


@pytest.fixture(scope='module')
def root(figures, tmp_path_factory):  # noqa: F811
    """The documented folder, of people with three joints."""
    def three_joints(content):
        for person in content['annotations']:
            person['keypoints'] = person['keypoints'][:9]

    folder = tmp_path_factory.mktemp('joints')
    in_one_folder(figures, folder / 'data' / 'mine', 'person_keypoints_', three_joints)
    (folder / 'joints.py').write_text(CONFIGS[3])
    (folder / 'mine.py').write_text(CONFIGS[4].replace("'configs/", f"'{ROOT / 'configs'}/"))
    return folder


@pytest.fixture
def check(root, tmp_path, monkeypatch):
    """The checks on the documented config, with ``old`` replaced in the description or in the config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').symlink_to(root / 'data')
    for name in ('joints.py', 'mine.py'):
        shutil.copy(root / name, name)

    def run(old='', new='', more=''):
        for name in ('joints.py', 'mine.py'):
            text = (tmp_path / name).read_text()
            (tmp_path / name).write_text(text.replace(old, new) if old else text)
        with open('joints.py', 'a') as file:
            file.write(more)
        cfg = Config.fromfile('mine.py')
        cfg.work_dir = 'w'
        check_data(cfg, LOADERS, EVALUATORS)
        check_consistency(cfg, LOADERS, EVALUATORS)
        return cfg
    return run


def test_the_documented_description_passes(check):
    check()


@pytest.mark.parametrize(('old', 'new', 'message'), [
    (", 'right eye': 'left eye'}", '}', r"joints\.py: the keypoint 'left eye' has swap='right eye', but 'right eye' "
     "has swap='': a flip exchanges both; give each the name of the other"),
    ("'left eye': 'right eye',", "'left eye': 'rigth eye',",
     "swap='rigth eye' of the keypoint 'left eye' is none of its keypoints; did you mean 'right eye'"),
    ("link=('left eye', 'nose')", "link=('left eye', 'nos')", r"skeleton_info\[0\]\.link names 'nos', .* mean 'nose'"),
    ("link=('left eye', 'nose')", "link=('left eye', )", r"skeleton_info\[0\]\.link is .*; name two keypoints"),
    ('sigmas=[0.05] * len(names)', 'sigmas=[0.05] * 2', 'sigmas has 2 numbers, but there are 3 keypoints'),
    ('sigmas=[0.05] * len(names)', 'sigmas=[0.05, 0, 0.05]', 'sigmas is .* each must be a number above 0'),
    ('sigmas=[0.05] * len(names)', 'sigmas=[]', r'sigmas is empty, .* write sigmas=\[0\.05\] \* 3'),
    (', sigmas=[0.05] * len(names)', '', "dataset_info has no 'sigmas'"),
    ('keypoint_info={i:', 'keypoint_info={i + 1:', r'keypoint_info has the keys \[1, 2, 3\]; number its keypoints'),
    ("names, swap = ('nose', 'left eye', 'right eye')", "names, swap = ('nose', 'nose', 'right eye')",
     "2 keypoints have the name 'nose'"),
    ('dataset_info = dict(', 'info = dict(', r'joints\.py has no dataset_info'),
    ('dataset_info = dict(', 'dataset_info = dict((', r'joints\.py cannot be read'),
    ('head=dict(out_channels=3', 'head=dict(out_channels=4',
     r'train_dataloader has 3 keypoints by its metainfo, but the head finds 4: set model\.head\.out_channels=3'),
    ('from_file=joints)', "from_file='coco.py')",
     r'annotations\[0\]: it annotates 3 keypoints a person, but the metainfo of the dataset describes 17: give'),
])
def test_a_description_that_does_not_fit_is_named(old, new, message, check):
    with pytest.raises(ValueError, match=message) as error:
        check(old, new)
    assert '\n' not in str(error.value)


def test_weights_of_another_number_are_named(check, monkeypatch):
    """Most heads do not use them."""
    said = []
    monkeypatch.setattr(joints, 'print_log', lambda text, *_: said.append(text))
    check('joint_weights=[1.0] * len(names)', 'joint_weights=[1.0] * 2')
    assert 'joint_weights has 2 numbers, but there are 3 keypoints' in said[0]


def test_a_description_for_one_dataloader_only(check):
    """Of as many keypoints, in another order."""
    with open('joints.py') as file, open('others.py', 'w') as other:
        other.write(file.read().replace("('nose', 'left eye', 'right eye')", "('left eye', 'nose', 'right eye')"))
    with open('mine.py', 'a') as file:
        file.write("val_dataloader['dataset']['metainfo'] = dict(from_file='others.py')\n")
    with pytest.raises(ValueError, match=r'val_dataloader and train_dataloader have different keypoints \(3 and'):
        check()


def test_descriptions_of_mmpose_pass(check, monkeypatch):
    """Some have faults that they are used with."""
    import mmpose
    from mmpose.datasets import BaseCocoStyleDataset
    for path in joints.Path(mmpose.__file__).parent.glob('.mim/configs/_base_/datasets/*.py'):
        dataset = dict(type='BaseCocoStyleDataset', metainfo=dict(from_file=f'configs/_base_/datasets/{path.name}'))
        if 'dataset_info' in path.read_text():
            joints.check_joints(Config(), dict(train_dataloader=[(dataset, BaseCocoStyleDataset)]), [])


def test_people_of_whom_nothing_is_annotated(check, root, tmp_path, monkeypatch):
    """They are left out; a file of nobody is refused."""
    (tmp_path / 'data').unlink()
    shutil.copytree(root / 'data', tmp_path / 'data')
    path, said = tmp_path / 'data' / 'mine' / 'val.json', []
    monkeypatch.setattr(coco_repairs, 'print_log', lambda text, *_: said.append(text))
    content = json.loads(path.read_text())
    del content['annotations'][0]['keypoints']
    path.write_text(json.dumps(content))
    check()
    assert re.search(r'of \d+ annotations 1 have no keypoints\. Continuing with a copy', said[0])
    for person in content['annotations']:
        person.pop('keypoints', None)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'val\.json has no labelled keypoint, .*: give the file that has them'):
        check()
