"""Data of one's own: what is wrong with it is said in one line, before anything is built from it."""
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mm import ROOT, call, write_config
from mmengine.config import Config

from micronet_mm.datasets import coco_file, write_figures
from micronet_mm.engine.checks.data import check_data
from micronet_mm.engine.checks.model import check_consistency
from micronet_mm.engine.checks.paths import check_files
from micronet_mm.engine.cli import config_parser

TRAIN = ROOT / 'tools' / 'train.py'
LOADERS, EVALUATORS = ['train_dataloader', 'val_dataloader'], ['val_evaluator']


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=4, num_val=2)
    return root


@pytest.fixture
def data(figures, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(figures, tmp_path / 'figures')


def spoil(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def without(key, *places):
    def change(content):
        for index in places or range(len(content['annotations'])):
            del content['annotations'][index][key]
    return change


def check(tmp_path, data, text=''):
    """The checks of tools/train.py, on the demo's config."""
    cfg = Config.fromfile(write_config(tmp_path / 'tiny.py', data, text))
    cfg.work_dir = str(tmp_path / 'w')
    check_data(cfg, LOADERS, EVALUATORS)
    check_consistency(cfg, LOADERS, EVALUATORS)
    return cfg


def test_what_is_right_passes(figures, tmp_path):
    check(tmp_path, figures)
    assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(('change', 'message'), [
    (lambda c: c.pop('categories'), r'train\.json: object missing required field `categories`'),
    (lambda c: c['annotations'].clear(), r'train\.json lists no annotations: give the file that has them'),
    (lambda c: c['images'].clear(), r'train\.json lists no images'),
    (without('bbox', 3), r'train\.json, annotations\[3\]: object missing required field `bbox`'),
    (without('image_id', 0), r'train\.json, annotations\[0\]: object missing required field `image_id`'),
    (lambda c: c['annotations'][2].update(bbox=[1, 2, 3]), r'annotations\[2\]\.bbox: expected `array` of length 4'),
    (lambda c: c['annotations'][2].update(bbox='1 2 3 4'), r'annotations\[2\]\.bbox: expected `array`, got `str`'),
    (lambda c: c['images'][1].pop('width'), r'train\.json, images\[1\]: object missing required field `width`'),
    (lambda c: c['annotations'][1].update(id=c['annotations'][0]['id']), 'several annotations of one id, such as'),
    (lambda c: c['categories'][1].update(name='disk'), r"no category 'disc', .*; did you mean 'disk'\?"),
    (lambda c: c['categories'].reverse(), r"another order .* set metainfo=dict\(classes=\('triangle', 'square'"),
    (lambda c: [i.update(file_name='train/' + i['file_name']) for i in c['images']],
     r'lists images that are not there, such as .*train/train/'),
])
def test_a_fault_in_a_file_is_named_with_its_place(change, message, data, tmp_path):
    spoil(data / 'annotations' / 'train.json', change)
    with pytest.raises(ValueError, match=message) as error:
        check(tmp_path, data)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [b'', b'{"images": [', b'[]', b'\xff\xfe'])
def test_a_file_that_is_no_json_is_named(content, data, tmp_path):
    (data / 'annotations' / 'train.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'train\.json'):
        check(tmp_path, data)


def test_annotations_that_libraries_drop_are_counted(data, monkeypatch):
    path, said = data / 'annotations' / 'train.json', []
    monkeypatch.setattr(coco_file, 'print_log', lambda text, *_: said.append(text))
    spoil(path, lambda c: [c['annotations'][index].update(category_id=99) for index in (1, 2)])
    spoil(path, lambda c: c['annotations'][0].update(image_id=77))
    spoil(path, lambda c: c['annotations'][3].update(bbox=[10, 10, -5, 20]))
    file = coco_file.read_coco_file(path)
    coco_file.warn_of_strays(path, file, coco_file.boxes(file), coco_file.sizes(file))
    assert [text.partition('json: ')[2] for text in said] == [
        '1 annotations are left out, such as annotations[0] with image_id=77, which the file does not list.',
        '2 annotations are left out, such as annotations[1] with category_id=99, which the file does not list.',
        '1 annotations are left out, such as annotations[3] with bbox=(10.0, 10.0, -5.0, 20.0), which has no area.']


def test_what_is_missing_and_needs_no_guess_is_completed_in_a_copy(data, tmp_path):
    paths = [data / 'annotations' / f'{split}.json' for split in ('train', 'val')]
    for path in paths:
        spoil(path, without('area'))
        spoil(path, without('iscrowd'))
    before = [path.read_bytes() for path in paths]
    cfg = check(tmp_path, data)
    assert [path.read_bytes() for path in paths] == before
    copies = [cfg.train_dataloader.dataset.ann_file, cfg.val_dataloader.dataset.ann_file]
    assert cfg.val_evaluator.ann_file == copies[1] and str(tmp_path / 'w' / 'annotations') in copies[0]
    for copy, path in zip(copies, paths):
        completed, lacking = (json.loads(Path(name).read_text())['annotations'] for name in (copy, path))
        for entry, given in zip(completed, lacking, strict=True):
            assert entry == dict(given, area=given['bbox'][2] * given['bbox'][3], iscrowd=0)


def test_such_data_trains_and_evaluates(data, tmp_path):
    """From the command line, with a class whose name has a space."""
    for split in ('train', 'val'):
        spoil(data / 'annotations' / f'{split}.json', without('area'))
        spoil(data / 'annotations' / f'{split}.json', lambda c: c['categories'][1].update(name='big disc'))
    write_config(tmp_path / 'tiny.py', data, '''
train_cfg = dict(max_epochs=1, val_interval=1)
model = dict(test_cfg=dict(score_thr=0.0))  # an untrained detector must find something
''')
    names = "classes=('person','big disc','square','triangle')"
    run = call(TRAIN, 'tiny.py', '--cfg-options', f'train_dataloader.dataset.metainfo.{names}',
               f'val_dataloader.dataset.metainfo.{names}', cwd=tmp_path)
    assert run.returncode == 0 and 'coco/bbox_mAP' in run.stdout, run.stdout[-2000:]
    assert 'have no area. Continuing with a copy' in run.stdout
    assert 'the warm-up of 50 iterations is longer than this run of 2, so the learning rate never' in run.stdout


@pytest.mark.parametrize(('text', 'message'), [
    ("model = dict(backbone=dict(arch='m0'))",
     r"model\.neck\.in_channels=\[24, 80, 864\], but the backbone with arch='m0' has widths \[12, 32, 384\]"),
    ("model = dict(neck=[dict(type='FPN', in_channels=[1, 2, 3]), dict(type='DyHead')])",
     r'model\.neck\.in_channels=\[1, 2, 3\], but the backbone'),
    ('model = dict(neck=dict(out_channels=48))',
     r'model\.bbox_head\.in_channels=64, but model\.neck\.out_channels=48: set both to the same'),
    ('model = dict(bbox_head=dict(num_classes=80))',
     r'model\.bbox_head\.num_classes=80, but the data of train_dataloader has 4 classes: set model\.bbox_head\.num'),
    ("train_dataloader['dataset']['metainfo'] = dict(classes=('person', 'disc'))\n"
     "model = dict(bbox_head=dict(num_classes=2))", r'bbox_head\.num_classes=2, but the data of val_dataloader has 4'),
    ("metainfo['classes'] = ('person', 'disk', 'square', 'triangle')", r"no category 'disk', .* did you mean 'disc'\?"),
    ("val_evaluator['ann_file'] = data_root + 'annotations/train.json'",
     r'val_evaluator reads .*train\.json, but the dataset of val_dataloader .*val\.json: give both the same file'),
    ("metainfo['classes'] = 'person'", r"write \('person', \) with the comma"),
])
def test_parts_that_do_not_fit_one_another_are_named(text, message, figures, tmp_path):
    with pytest.raises(ValueError, match=message):
        check(tmp_path, figures, text)


@pytest.fixture
def folders(tmp_path):
    pytest.importorskip('mmpretrain')
    for split, count in (('train', 11), ('val', 4)):  # 33 images in batches of 32 leave one over
        for label in ('cat', 'big dog', 'owl'):
            (tmp_path / 'data' / split / label).mkdir(parents=True)
            for index in range(count):
                cv2.imwrite(str(tmp_path / 'data' / split / label / f'{index}.png'),
                            np.random.default_rng(index).integers(0, 255, (40, 40, 3), np.uint8))
    return tmp_path / 'data'


def check_classifier(folders, *options, own=()):
    """Check with folders as ImageNet's, or with a CustomDataset of the keyword arguments ``own``."""
    parser = config_parser('')
    options = parser.parse_args(['x', '--cfg-options', f'data_root={folders}', *options]).cfg_options
    cfg = Config.fromfile(ROOT / 'configs' / 'imagenet_micronet_m0.py')
    cfg.merge_from_dict(options)
    for loader in LOADERS:
        cfg[loader].dataset.data_root = str(folders)
        if loader in own:
            cfg[loader].dataset = dict(type='CustomDataset', data_root=str(folders), **own[loader])
    check_consistency(cfg, LOADERS, EVALUATORS)
    check_data(cfg, LOADERS, EVALUATORS)
    return cfg


def test_a_head_for_other_classes_than_there_are_folders(folders):
    with pytest.raises(ValueError, match=r'head\.num_classes=1000, but the data of train_dataloader has 3 classes'):
        check_classifier(folders)


def test_ranks_beyond_the_classes_are_left_out(folders):
    cfg = check_classifier(folders, 'model.head.num_classes=3')
    assert cfg.val_evaluator.topk == (1, )


def test_class_folders_that_differ(folders):
    (folders / 'val' / 'cat').rename(folders / 'val' / 'Cat')
    with pytest.raises(ValueError, match=r"'Cat' is only in .*/val, .*; rename it, or 'cat', so that"):
        check_classifier(folders, 'model.head.num_classes=3')
    shutil.rmtree(folders / 'val' / 'Cat')
    with pytest.raises(ValueError, match=r"val_dataloader and train_dataloader have different class folders "
                                         r"\(2 and 3\): 'cat' is only in .*/train, .* make it in both, empty if need"):
        check_classifier(folders, 'model.head.num_classes=3')
    (folders / 'val' / 'cat').mkdir()
    check_classifier(folders, 'model.head.num_classes=3')


@pytest.mark.parametrize('name', ['.ipynb_checkpoints', '__MACOSX', '@eaDir'])
def test_folders_that_programs_leave_are_no_classes(name, folders):
    """Whose advice is followed has the classes that there are."""
    (folders / 'train' / name).mkdir()
    own = {loader: dict(data_prefix=loader.partition('_')[0]) for loader in LOADERS}
    for kinds in {}, own:
        with pytest.raises(ValueError, match=rf'/train/{name} counts as one of the 4 classes, .*: remove it') as error:
            check_classifier(folders, 'model.head.num_classes=3', own=kinds)
    shutil.rmtree(str(error.value).partition(' counts')[0])
    check_classifier(folders, 'model.head.num_classes=3')


def test_a_class_with_a_dot_is_a_class(folders):
    for split in ('train', 'val'):
        (folders / split / 'owl').rename(folders / split / '.owl')
    check_classifier(folders, 'model.head.num_classes=3')


@pytest.mark.parametrize('listed', [False, True])
def test_broken_images_of_classes(listed, folders):
    (folders / 'val.txt').write_text(''.join(f'big dog/{index}.png 0\n' for index in range(4)))
    kinds = dict(val_dataloader=dict(data_prefix='val', ann_file='val.txt')) if listed else {}

    def check():
        check_classifier(folders, 'model.head.num_classes=3', own=kinds)

    check()
    (folders / 'val' / 'big dog' / '2.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'1 of \d+ images of .*/val(.txt)? that were opened are broken.*A metric'):
        check()
    (folders / 'val' / 'big dog' / '2.png').unlink()
    if listed:
        with pytest.raises(ValueError, match=r'1 of 4 images of .*val.txt are not there, such as .*/big dog/2.png'):
            check()


def test_a_folder_within_a_folder_of_its_name(folders):
    shutil.move(folders / 'train', folders / 'inner')
    (folders / 'train').mkdir()
    shutil.move(folders / 'inner', folders / 'train' / 'train')
    with pytest.raises(ValueError, match=r"has one folder, 'train', whose folders are .*: name .*/train/train"):
        check_classifier(folders, 'model.head.num_classes=3')


@pytest.mark.parametrize(('text', 'value'), [
    ("('person','big disc')", ('person', 'big disc')), ("['big disc']", ['big disc']), ('my data/set', 'my data/set'),
    ('1,2', [1, 2]), ('[(1, 2), [a, b]]', [(1, 2), ['a', 'b']]), ('true', True), ('None', None), ('1e-3', 1e-3),
    ("{'type': 'A'}", dict(type='A')), ('cat, dog', ['cat', 'dog']),
    ("'a b'", 'a b'), ('0.5', 0.5), ('name', 'name'), ('(a,b)', ('a', 'b')),
])
def test_options_are_what_was_typed(text, value):
    assert config_parser('').parse_args(['x', '--cfg-options', f'key={text}']).cfg_options == dict(key=value)


@pytest.mark.parametrize(('text', 'message'), [
    ('key=(person,big disc)', 'quote each name'), ('key', 'no KEY=VALUE'),
    ("key=dict(type='A',b=1)", 'give each entry by itself'),
])
def test_options_that_cannot_be_meant(text, message, capsys):
    with pytest.raises(SystemExit):
        config_parser('').parse_args(['x', '--cfg-options', text])
    assert message in capsys.readouterr().err


CONFIGS = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'own_data.md').read_text(), re.S)


def train_documented(config, folder, *options):
    """One epoch of a config of docs/own_data.md, which lies in ``folder``, and an evaluation."""
    (folder / 'mine.py').write_text(config.replace("'configs/", f"'{ROOT / 'configs'}/"))
    run = call(TRAIN, 'mine.py', '--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
               'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
               'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False', *options, cwd=folder)
    assert run.returncode == 0, run.stdout[-3000:]
    return run.stdout


def in_one_folder(figures, root, kind, change):
    """``train.json``, ``val.json`` and ``images/``, as the document says."""
    (root / 'images').mkdir(parents=True)
    for split in ('train', 'val'):
        content = json.loads((figures / 'annotations' / f'{kind}{split}.json').read_text())
        for image in content['images']:
            shutil.copy(figures / split / image['file_name'], root / 'images' / f'{split}_{image["file_name"]}')
            image['file_name'] = f'{split}_{image["file_name"]}'
        change(content)
        (root / f'{split}.json').write_text(json.dumps(content))


@pytest.mark.parametrize('index', [0, 1], ids=['retinanet', 'micro_det'])
def test_the_documented_detectors_train(index, figures, tmp_path):

    def two_classes(content):
        content['categories'] = [dict(category, name='big disc' if category['name'] == 'disc' else category['name'])
                                 for category in content['categories']]

    in_one_folder(figures, tmp_path / 'data' / 'mine', '', two_classes)
    out = train_documented(CONFIGS[index], tmp_path, 'train_dataloader.batch_size=2', 'model.test_cfg.score_thr=0.0')
    assert 'coco/bbox_mAP' in out and 'the warm-up of 50 iterations is longer than this run' in out


def test_the_documented_classifier_trains(folders):
    roots = [f'{loader}.dataset.data_root={folders}' for loader in LOADERS]
    out = train_documented(CONFIGS[2], folders.parent, *roots)
    assert 'accuracy/top1' in out and 'val_evaluator has topk=(1, 5), and the data 3 classes: topk=(1,) is taken' in out


@pytest.mark.parametrize(('old', 'new', 'message'), [
    ("root, joints, epochs = 'data/mine/', 'joints.py'", "root, joints, epochs = 'data/mine/', 'points.py'",
     r'points\.py does not exist, .* It describes the keypoints'),
    ('bbox_file=None', "bbox_file='people.json'",
     r'people\.json does not exist, .* --cfg-options val_dataloader\.dataset\.bbox_file=\.\.\., or None there'),
    ("decoder=codec", "decoder=dict(codec, input_size=(192, 256), heatmap_size=(48, 64))",
     r'the TopdownAffine of train_dataloader has input_size=\(96, 128\), but model\.head\.decoder has \(192, 256\)'),
    ('heatmap_size=(24, 32)', 'heatmap_size=(48, 64)', r'have a 4th of the input: set heatmap_size=\(24, 32\)'),
])
def test_keypoints_that_do_not_fit_are_named(old, new, message, figures, tmp_path, monkeypatch):
    pytest.importorskip('mmpose')
    monkeypatch.chdir(tmp_path)
    in_one_folder(figures, tmp_path / 'data' / 'mine', 'person_keypoints_', lambda content: None)
    config = CONFIGS[4].replace("'configs/", f"'{ROOT / 'configs'}/")
    assert old in config
    (tmp_path / 'joints.py').write_text(CONFIGS[3])
    (tmp_path / 'mine.py').write_text(config.replace(old, new))
    cfg = Config.fromfile('mine.py')
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        check_files(cfg, LOADERS, EVALUATORS)
        check_consistency(cfg, LOADERS, EVALUATORS)


def test_the_documented_keypoints_train(figures, tmp_path):
    pytest.importorskip('mmpose')

    def three_joints(content):
        content['categories'][0]['keypoints'] = content['categories'][0]['keypoints'][:3]
        for person in content['annotations']:
            person['keypoints'] = person['keypoints'][:9]

    in_one_folder(figures, tmp_path / 'data' / 'mine', 'person_keypoints_', three_joints)
    (tmp_path / 'joints.py').write_text(CONFIGS[3])
    assert 'coco/AP:' in train_documented(CONFIGS[4], tmp_path)
