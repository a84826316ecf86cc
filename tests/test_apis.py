"""Two stages together: people, then their poses."""
import json
import mimetypes
import re
import sys

import cv2
import draw_poses
import find_poses as tool
import numpy as np
import pytest
import torch
from mm import DEMO, ROOT, call, write_mixed
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.structures import InstanceData

from micronet_mm.datasets import write_figures
from micronet_runtime.sources import VIDEOS

pytest.importorskip('mmpose')
pytest.importorskip('mmdet')

POSE = DEMO.with_name('keypoint_micronet_m0_demo.py')


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Config and checkpoint of an untrained detector, which finds what a low threshold lets it, and a pose model."""
    folder = tmp_path_factory.mktemp('models')
    found = []
    for config, scope, classes in ((DEMO, 'mmdet', ('person', 'disc', 'square', 'triangle')), (POSE, 'mmpose', ())):
        init_default_scope(scope)
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(config).model)
        meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
        torch.save(dict(meta=meta, state_dict=model.state_dict()), folder / f'{scope}.pth')
        found += [str(config), str(folder / f'{scope}.pth')]
    DefaultScope._instance_dict.clear()
    return found


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (90, 120, 3), np.uint8))
    return folder


@pytest.fixture
def run(models, tmp_path, monkeypatch):
    """Run the tool here; a mistake, which must be one line, raises SystemExit."""
    monkeypatch.chdir(tmp_path)

    def run(source, *options, detector=models[:2], pose=models[2:]):
        command = [source, '--detector', *detector, '--pose', *pose, '--out-dir', 'drawn', *options]
        monkeypatch.setattr(sys, 'argv', ['find_poses.py', *map(str, command)])
        tool.main()
    return run


def mistake(run, *arguments, **models):
    """The line with which the tool ends."""
    with pytest.raises(SystemExit) as end:
        run(*arguments, **models)
    line = str(end.value)
    assert line.startswith('error: ') and '\n' not in line
    return line


def test_an_image_a_folder_and_an_array(models, pictures, tmp_path):
    from micronet_mm.apis import find_poses
    found, = find_poses(pictures / 'a.png', *models, out_dir=str(tmp_path / 'drawn.d'), box_threshold=1e-4)
    assert found['image'] == str(pictures / 'a.png') and (tmp_path / 'drawn.d' / 'a.png').exists()
    person = found['people'][0]
    assert len(person['bbox']) == 4 and 0 < person['bbox_score'] < 1
    assert np.shape(person['keypoints']) == (17, 2) and np.shape(person['keypoint_scores']) == (17, )
    assert len(find_poses(str(pictures), *models, box_threshold=1e-4)) == 2
    same, = find_poses(cv2.imread(str(pictures / 'a.png')), *models, box_threshold=1e-4)
    assert same['image'] == 0 and np.allclose(same['people'][0]['keypoints'], person['keypoints'])


def test_where_nobody_is_nobody_is_found(models, pictures, tmp_path):
    from micronet_mm.apis import find_poses
    found = find_poses(pictures, *models, out_dir=str(tmp_path), box_threshold=0.99)
    assert found == [dict(image=str(pictures / name), people=[]) for name in ('a.png', 'b.png')]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'b.png']
    drawn, given = (cv2.imread(str(folder / 'a.png')).astype(int) for folder in (tmp_path, pictures))
    assert abs(drawn - given).mean() < 1  # nothing is drawn


def test_a_score_of_one_is_a_score(models, pictures, monkeypatch):
    """Logits from about 17 on are 1 in single precision."""
    from mmdet.models.dense_heads import RetinaHead

    from micronet_mm.apis import find_poses
    monkeypatch.setattr(RetinaHead, 'predict_by_feat', lambda *args, **kwargs: [InstanceData(
        bboxes=torch.tensor([[10.0, 10, 60, 80]]), scores=torch.tensor([40.0]).sigmoid(), labels=torch.tensor([0]))])
    assert [[person['bbox_score'] for person in each['people']] for each in find_poses(pictures, *models)] == [[1], [1]]
    assert [each['people'] for each in find_poses(pictures, *models, person=1)] == [[], []]


@pytest.mark.parametrize('spelling', ['.', 'link', '../{name}', 'hard'])
def test_the_picture_is_not_drawn_over(spelling, run, pictures, tmp_path):
    picture = tmp_path / 'me.png'
    picture.write_bytes((pictures / 'a.png').read_bytes())
    (tmp_path / 'link').symlink_to(tmp_path)
    (tmp_path / 'hard').mkdir()
    (tmp_path / 'hard' / 'me.png').hardlink_to(picture)
    before = picture.read_bytes()
    assert re.fullmatch(r'error: Output .*me\.png is also the input me\.png; choose another output path\.',
                        mistake(run, 'me.png', '--out-dir', spelling.format(name=tmp_path.name)))
    assert picture.read_bytes() == before


def test_two_pictures_of_one_name_are_not_drawn_in_one_file(models, pictures, tmp_path):
    from micronet_mm.apis import find_poses
    (tmp_path / 'a.png').write_bytes((pictures / 'b.png').read_bytes())
    with pytest.raises(ValueError, match='would be drawn in one file'):
        find_poses([str(pictures / 'a.png'), str(tmp_path / 'a.png')], *models, out_dir=str(tmp_path / 'drawn'))


def test_mmpose_takes_for_a_video_what_we_do():
    from micronet_mm.apis.poses import is_video
    for film in (f'film{suffix}' for suffix in VIDEOS):
        assert is_video(film) and mimetypes.guess_type(film)[0].startswith('video/'), film


@pytest.mark.parametrize('name', ['film.mp4', 'film.mkv'])
def test_a_video_from_the_command_line(name, models, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*'mp4v'), 5, (120, 90))
    for value in (40, 80, 120):
        video.write(np.full((90, 120, 3), value, np.uint8))
    video.release()
    run = call(ROOT / 'tools' / 'find_poses.py', name, '--detector', *models[:2], '--pose', *models[2:],
               '--out-dir', 'drawn', '--json', 'new/found.json', '--box-threshold', '0.0001', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert ' people in 3 images, drawn in drawn' in run.stdout
    found = json.loads((tmp_path / 'new' / 'found.json').read_text())
    assert [(each['image'], each['frame'], bool(each['people'])) for each in found] == [
        (name, frame, True) for frame in range(3)]
    assert cv2.VideoCapture(str(tmp_path / 'drawn' / name)).get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_every_result_has_its_picture_whatever_else_the_folder_holds(run, pictures, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr('micronet_mm.datasets.loading.print_log', lambda line, *_: warnings.append(line))
    folder = tmp_path / 'mixed'
    picture = cv2.imread(str(pictures / 'a.png'))
    write_mixed(folder, {'b.png': picture, 'a.JPG': picture, 'grey.pgm': picture[..., 0]})
    for name, size in (('wide.png', (2, 5000)), ('high.png', (5000, 2))):
        cv2.imwrite(str(folder / name), np.zeros((*size, 3), np.uint8))
    run('mixed', '--json', 'found.json', '--box-threshold', '0.0001')
    found = json.loads((tmp_path / 'found.json').read_text())
    read = ['a.JPG', 'b.png', 'grey.pgm', 'high.png', 'wide.png']
    assert [each['image'] for each in found] == [f'mixed/{name}' for name in read]
    assert all(each['people'] for each in found[:3])
    assert [file.name for file in sorted((tmp_path / 'drawn').iterdir())] == [
        name.replace('pgm', 'pgm.png') for name in read]
    assert warnings == [f'the image mixed/{name} cannot be decoded and is skipped'
                        for name in ('broken.png', 'cut-a.JPG', 'cut-b.png', 'empty.png')] + [
        'the image mixed/gone.png does not exist and is skipped']


def test_where_nothing_can_be_read_it_ends_with_one_line(run, tmp_path):
    for name in ('README', 'empty.mp4'):
        (tmp_path / name).touch()
        assert f'{name} holds no image that can be read' in mistake(run, name)
    (tmp_path / 'folder').mkdir()
    assert 'folder holds no image; name' in mistake(run, 'folder')
    assert 'none.jpg does not exist; name an image, a video or a folder of images.' in mistake(run, 'none.jpg')
    assert 'with --camera' in mistake(run, '0')


@pytest.mark.parametrize('source', [0, '0', ['0'], [np.int64(1)]])
def test_cameras_are_for_the_runtime(source, models):
    from micronet_mm.apis import find_poses
    with pytest.raises(FileNotFoundError, match='Cameras are for python -m micronet_runtime, with --camera'):
        find_poses(source, *models)


@pytest.mark.parametrize('array', [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_an_array_that_is_no_image(array, models):
    from micronet_mm.apis import find_poses
    with pytest.raises(ValueError, match=r'is no image; give one of shape \(H, W, 3\)'):
        find_poses([array], *models)


@pytest.mark.parametrize(('options', 'message'), [
    (['--out-dir', 'file'], 'file is not writable'),
    (['--out-dir', 'file/below'], 'file/below is not writable'),
    (['--json', 'file/found.json'], 'file is not writable'),
    (['--json', 'folder'], 'Output folder is a folder'),
    (['--json', 'pictures/a.png'], 'a.png is also the input pictures/a.png'),
    (['--person', '4'], '4 is no label of the detector .*, whose 4 classes are 0 to 3'),
    (['--person', '-1'], 'person=-1 of find_poses must be a whole number of at least 0'),
    (['--box-threshold', '30'], 'box_threshold=30.0 of find_poses must be a number from 0 to 1'),
    (['--keypoint-threshold', '-0.1'], 'keypoint_threshold=-0.1 of find_poses'),
    (['--box-threshold', 'nan'], 'box_threshold=nan of find_poses'),
    (['--device', 'gpu'], r"the device 'gpu' cannot be used \(.*\); name one"),
    (['--device', 'cuda:99'], "the device 'cuda:99' cannot be used"),
    (['--device', 'meta'], "the device 'meta' cannot be used"),
])
def test_a_mistake_is_one_line_before_the_work(options, message, run, pictures, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'pictures').symlink_to(pictures)
    monkeypatch.setattr('micronet_mm.apis.poses.PeopleInferencer', None)
    assert re.match(f'error: .*{message}', mistake(run, 'pictures', *options))


def test_models_in_the_wrong_place(models, run, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr('micronet_mm.apis.poses.PeopleInferencer', None)
    detector, pose = models[:2], models[2:]
    classifier = ROOT / 'configs' / 'imagenet_micronet_m0.py'
    (tmp_path / 'bare.py').write_text("default_scope = 'mmdet'\nmodel = dict(type='RetinaNet')")
    (tmp_path / 'empty.py').touch()
    (tmp_path / 'cut.pth').write_bytes(b'PK')
    for given, message in [
        (dict(detector=pose, pose=detector), 'of a model of type TopdownPoseEstimator, which is no detector of mmdet'),
        (dict(pose=detector), 'of a model of type RetinaNet, which is no top-down keypoint model of mmpose'),
        (dict(detector=[classifier, detector[1]]), 'of a model of type ImageClassifier, which is no detector'),
        (dict(pose=[classifier, pose[1]]), 'of a model of type ImageClassifier, which is no top-down keypoint model'),
        (dict(pose=['empty.py', pose[1]]), 'empty.py is the config of a model of type None'),
        (dict(detector=['bare.py', detector[1]]), 'bare.py lacks test_dataloader'),
        (dict(detector=[detector[0], pose[1]]), 'mmpose.pth does not fit the model of the config'),
        (dict(pose=[pose[0], detector[1]]), 'mmdet.pth does not fit the model of the config'),
        (dict(pose=[pose[0], 'none.pth']), 'none.pth does not exist'),
        (dict(pose=[pose[0], 'cut.pth']), 'cut.pth is broken and cannot be read'),
    ]:
        assert message in mistake(run, pictures, **given)


def test_a_checkpoint_of_an_older_mmpose_fits(models, run, pictures):
    """Its heads were called keypoint_head, which mmpose renames when it loads."""
    content = torch.load(models[3])
    weights = content['state_dict']
    content['state_dict'] = {re.sub('^head', 'keypoint_head', key): value for key, value in weights.items()}
    torch.save(content, 'older.pth')
    run(pictures / 'a.png', pose=[models[2], 'older.pth'])


def test_an_error_inside_shows_where(run, pictures, monkeypatch):
    """A ValueError is what mistakes raise as well."""
    from mmpose.models import TopdownPoseEstimator

    def fail(*args, **kwargs):
        raise ValueError('a bug')
    monkeypatch.setattr(TopdownPoseEstimator, 'predict', fail)
    with pytest.raises(ValueError, match='a bug'):
        run(pictures)


def test_held_out_people_are_drawn(models, tmp_path, monkeypatch):
    write_figures(tmp_path / 'data' / 'figures', num_train=1, num_val=2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()

    def draw(config, checkpoint, out_dir):
        monkeypatch.setattr(sys, 'argv', ['draw_poses.py', config, checkpoint, '--out-dir', out_dir])
        draw_poses.main()
    for config, checkpoint, out_dir, message in [
        (models[0], models[1], 'drawn', 'of a model of type RetinaNet, which is no top-down keypoint model'),
        (models[2], models[1], 'drawn', 'mmdet.pth does not fit the model of the config'),
        (models[2], models[3], 'file', 'file is not writable'),
    ]:
        with pytest.raises(SystemExit, match=f'^error: .*{message}'):
            draw(config, checkpoint, out_dir)
    assert not (tmp_path / 'drawn').exists()
    draw(models[2], models[3], 'drawn')
    assert sorted(file.name for file in (tmp_path / 'drawn').iterdir()) == ['pose_0.png', 'pose_1.png']
